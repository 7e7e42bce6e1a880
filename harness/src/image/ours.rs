//! The images of this project, from the table that the embedded provider starts the same programs by. Tags are those of the manifests.

use std::collections::BTreeMap;
use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};
use substrate_config::ImageRule;

use super::archive::{Config, Image};
use super::layer::{Entry, Layer};
use super::{libraries, replace, system};
use crate::provider::images;
use crate::provider::programs::Programs;

/// How names of images of ours begin; other names of the table are Istio's.
const OURS: &str = "meshproof/";
/// The router between mesh networks of the provider `kind`.
pub const ROUTER: &str = "meshproof/router:dev";
/// Where a program looks for other programs, whoever starts it.
const PATH: (&str, &str) = ("PATH", "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
/// The name under which Envoy lies beside the agent.
pub const ENVOY: &str = "envoy";
/// The image with Envoy and the agent.
pub const PROXY: &str = "meshproof/proxy:dev";

/// Images cannot be made of the programs that are here.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A program or library cannot be used.
    #[error(transparent)]
    Libraries(#[from] libraries::Error),
    /// A program of the system is missing.
    #[error("{image} needs the program `{program}`, which is in no folder of PATH; install the package `{package}`")]
    NoProgram {
        /// The image.
        image: String,
        /// The program.
        program: &'static str,
        /// The package of Debian and Ubuntu that has it.
        package: &'static str,
    },
    /// A layer cannot be packed.
    #[error("cannot pack {image}")]
    Pack {
        /// The image.
        image: String,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
}

/// An image and what it weighs.
#[derive(Clone, Debug)]
pub struct Made {
    /// The image.
    pub image: Image,
    /// How many of its bytes are Envoy's, which is not ours to shrink.
    pub envoy_bytes: usize,
    /// How many are those of the loader and of libraries.
    pub library_bytes: usize,
}

impl Made {
    /// What it weighs beside Envoy, in bytes.
    #[must_use]
    pub fn own_bytes(&self) -> usize {
        self.image.size() - self.envoy_bytes
    }
}

/// Path in the image to path here.
type Files = BTreeMap<Utf8PathBuf, Utf8PathBuf>;

/// What an image is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Recipe {
    name: String,
    /// Its programs, but for those of the system.
    files: Files,
    /// Programs of the system, with the package that has each.
    tools: &'static [(&'static str, &'static str)],
    entrypoint: Vec<String>,
}

/// The agent sets capture rules by `nft`.
const PROXY_TOOLS: &[(&str, &str)] = &[("nft", "nftables")];
/// The router filters by `nft`, and gives addresses, routes and delays by `ip` and `tc`.
const ROUTER_TOOLS: &[(&str, &str)] = &[("nft", "nftables"), ("ip", "iproute2"), ("tc", "iproute2")];

/// Makes every image of ours whose name is wanted.
///
/// # Errors
/// [`Error`].
pub fn some(programs: &Programs, wanted: impl Fn(&str) -> bool) -> Result<Vec<Made>, Error> {
    let recipes = images::table(programs);
    let recipes = recipes.iter().filter_map(recipe).chain([router()]).filter(|recipe| wanted(&recipe.name));
    make(&recipes.collect::<Vec<_>>())
}

/// Makes the image of the router alone, which needs nothing that is built.
///
/// # Errors
/// [`Error`].
pub fn router_image() -> Result<Image, Error> {
    let made = make(&[router()])?;
    Ok(made.into_iter().next().expect("invariant: one recipe makes one image").image)
}

fn router() -> Recipe {
    Recipe {
        name: ROUTER.to_owned(),
        files: BTreeMap::new(),
        tools: ROUTER_TOOLS,
        // It runs as long as the container and writes every change of the rules into its log.
        entrypoint: ["nft", "monitor"].map(str::to_owned).to_vec(),
    }
}

fn recipe(rule: &ImageRule) -> Option<Recipe> {
    let rest = rule.image.strip_prefix(OURS)?;
    let (name, tag) = rest.split_once(':')?;
    let tag = match tag {
        "*" if name.starts_with("bookinfo-") => "v1",
        "*" => "dev",
        tag => tag,
    };
    let is_proxy = rule.files.keys().any(|path| path.file_name() == Some(ENVOY));
    Some(Recipe {
        name: format!("{OURS}{name}:{tag}"),
        files: rule.files.clone(),
        tools: if is_proxy { PROXY_TOOLS } else { &[] },
        entrypoint: rule.entrypoint.clone(),
    })
}

fn make(recipes: &[Recipe]) -> Result<Vec<Made>, Error> {
    let mut layers = Layers::default();
    recipes.iter().map(|recipe| made(recipe, &mut layers)).collect()
}

/// What changes seldom comes first, so that a program that was built again changes the last layer alone. Libraries of our own
/// programs are a layer for themselves, the same in every image.
fn made(recipe: &Recipe, layers: &mut Layers) -> Result<Made, Error> {
    let pack = |source| Error::Pack { image: recipe.name.clone(), source };
    let (envoy, own): (Files, Files) =
        recipe.files.clone().into_iter().partition(|(there, _)| there.file_name() == Some(ENVOY));
    let envoy_bytes: u64 =
        envoy.values().filter_map(|here| std::fs::metadata(here).ok()).map(|found| found.len()).sum();
    let foreign: Files = tools(recipe)?.into_iter().chain(envoy).collect();
    let own_needs = needs(&own)?;
    let mut more_needs = needs(&foreign)?;
    more_needs.retain(|entry| !own_needs.contains(entry));
    let base = own_needs.into_iter().chain([Entry::directory("/tmp", 0o1777)]).collect();
    let libraries = [layers.of(base, pack)?, layers.of(more_needs, pack)?];
    let programs = [layers.programs(&foreign, pack)?, layers.programs(&own, pack)?];
    let library_bytes = libraries.iter().flatten().map(|layer| layer.bytes().len()).sum();
    let image = Image {
        names: vec![recipe.name.clone()],
        layers: libraries.into_iter().chain(programs).flatten().collect(),
        config: Config {
            entrypoint: recipe.entrypoint.clone(),
            env: [(PATH.0.to_owned(), PATH.1.to_owned())].into(),
            labels: [(replace::LABEL.to_owned(), recipe.name.clone())].into(),
            ..Config::default()
        },
    };
    Ok(Made { image, envoy_bytes: usize::try_from(envoy_bytes).unwrap_or(usize::MAX), library_bytes })
}

/// The programs of the system that an image has.
fn tools(recipe: &Recipe) -> Result<Files, Error> {
    let found = recipe.tools.iter().map(|(program, package)| {
        let here = system::program(program).ok_or_else(|| Error::NoProgram {
            image: recipe.name.clone(),
            program,
            package,
        })?;
        Ok((Utf8Path::new("/usr/sbin").join(program), here))
    });
    found.collect()
}

fn needs(files: &Files) -> Result<Vec<Entry>, Error> {
    let programs: Vec<&Utf8Path> = files.values().map(Utf8PathBuf::as_path).collect();
    Ok(libraries::of(&programs)?)
}

/// Layers that were made, so that images with the same content share one.
#[derive(Default)]
struct Layers {
    /// By the paths of what is in them, which are those of this machine.
    needs: BTreeMap<Vec<Utf8PathBuf>, Arc<Layer>>,
    programs: BTreeMap<Files, Arc<Layer>>,
}

impl Layers {
    /// A layer of what programs need; none of nothing.
    fn of(&mut self, entries: Vec<Entry>, pack: impl Fn(std::io::Error) -> Error) -> Result<Option<Arc<Layer>>, Error> {
        let paths: Vec<Utf8PathBuf> = entries.iter().map(|entry| entry.path.clone()).collect();
        if paths.is_empty() {
            return Ok(None);
        }
        if let Some(layer) = self.needs.get(&paths) {
            return Ok(Some(Arc::clone(layer)));
        }
        let layer = Arc::new(Layer::new(entries).map_err(pack)?);
        self.needs.insert(paths, Arc::clone(&layer));
        Ok(Some(layer))
    }

    /// A layer of programs; none of none.
    fn programs(&mut self, files: &Files, pack: impl Fn(std::io::Error) -> Error) -> Result<Option<Arc<Layer>>, Error> {
        if files.is_empty() {
            return Ok(None);
        }
        if let Some(layer) = self.programs.get(files) {
            return Ok(Some(Arc::clone(layer)));
        }
        let entries: Vec<Entry> =
            files.iter().map(|(there, here)| libraries::program(here, there)).collect::<Result<_, _>>()?;
        let layer = Arc::new(Layer::new(entries).map_err(pack)?);
        self.programs.insert(files.clone(), Arc::clone(&layer));
        Ok(Some(layer))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn programs() -> Programs {
        Programs::below(Utf8Path::new("/built"), "/envoy/envoy".into())
    }

    fn recipes() -> Vec<Recipe> {
        images::table(&programs()).iter().filter_map(recipe).chain([router()]).collect()
    }

    #[test]
    fn recipes_are_as_written_down() {
        let text: String = recipes()
            .iter()
            .map(|recipe| {
                let files: Vec<&str> = recipe.files.values().map(|path| path.as_str()).collect();
                let tools: Vec<&str> = recipe.tools.iter().map(|(name, _)| *name).collect();
                format!(
                    "{} = {}{}; starts {}\n",
                    recipe.name,
                    files.join(" + "),
                    if tools.is_empty() { String::new() } else { format!(" with {}", tools.join(", ")) },
                    recipe.entrypoint.join(" ")
                )
            })
            .collect();
        insta::assert_snapshot!(text);
    }

    /// A manifest that names an image that nobody makes would show on real nodes only.
    #[test]
    fn every_image_that_a_manifest_names_is_made() {
        let made: BTreeSet<String> = recipes().into_iter().map(|recipe| recipe.name).collect();
        let manifests = Utf8Path::new(env!("CARGO_MANIFEST_DIR")).join("../manifests");
        let mut named = BTreeSet::new();
        let mut folders = vec![manifests];
        while let Some(folder) = folders.pop() {
            for entry in folder.read_dir_utf8().expect("read") {
                let path = entry.expect("an entry").into_path();
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                let text = std::fs::read_to_string(&path).expect("text");
                let images = text.lines().filter_map(|line| line.trim().strip_prefix("image: "));
                named.extend(images.filter(|image| image.starts_with(OURS)).map(str::to_owned));
            }
        }
        assert!(named.len() > 8, "{named:?}");
        assert_eq!(named.difference(&made).collect::<Vec<_>>(), Vec::<&String>::new());
    }

    #[test]
    fn images_share_the_layers_that_are_the_same() {
        let itself = Utf8PathBuf::try_from(std::env::current_exe().expect("a path")).expect("UTF-8");
        let one = |name: &str, word: &str| Recipe {
            name: name.to_owned(),
            files: [("/usr/local/bin/x".into(), itself.clone())].into(),
            tools: &[],
            entrypoint: vec!["x".to_owned(), word.to_owned()],
        };
        let made = make(&[one("meshproof/a:dev", "a"), one("meshproof/b:dev", "b")]).expect("made");
        assert!(made[0].image.layers.iter().zip(&made[1].image.layers).all(|(a, b)| Arc::ptr_eq(a, b)));
        assert_ne!(made[0].image.id(), made[1].image.id());
        assert_eq!(made[0].own_bytes(), made[0].image.size());
    }

    /// An agent that was built again must not bring a hundred megabytes of Envoy with it.
    #[test]
    fn a_program_that_changes_changes_the_last_layer_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let program = |name: &str, more: &[u8]| {
            let path = Utf8PathBuf::try_from(folder.path().join(name)).expect("UTF-8");
            let itself = std::fs::read("/proc/self/exe").expect("itself");
            std::fs::write(&path, [itself.as_slice(), more].concat()).expect("written");
            path
        };
        let (envoy, agent) = (program("envoy", b""), program("agent", b""));
        let recipe = Recipe {
            name: "meshproof/a:dev".to_owned(),
            files: [("/bin/envoy".into(), envoy), ("/bin/agent".into(), agent)].into(),
            tools: &[],
            entrypoint: Vec::new(),
        };
        let before = make(std::slice::from_ref(&recipe)).expect("made").remove(0);
        program("agent", b"more");
        let after = make(&[recipe]).expect("made").remove(0);
        let digests = |made: &Made| made.image.layers.iter().map(|layer| layer.digest().to_owned()).collect::<Vec<_>>();
        let (before_digests, after_digests) = (digests(&before), digests(&after));
        let last = before_digests.len() - 1;
        assert_eq!(before_digests[..last], after_digests[..last]);
        assert_ne!(before_digests[last], after_digests[last]);
        assert!(before.envoy_bytes > 0 && before.library_bytes > 0);
        assert_eq!(before.image.config.labels[replace::LABEL], "meshproof/a:dev", "by which it is found when replaced");
    }

    #[test]
    fn a_tool_that_is_not_there_is_named_with_its_package() {
        let recipe = Recipe {
            name: "meshproof/a:dev".to_owned(),
            files: BTreeMap::new(),
            tools: &[("no-such-tool", "no-such-package")],
            entrypoint: Vec::new(),
        };
        let error = make(&[recipe]).expect_err("missing").to_string();
        assert!(error.contains("needs the program `no-such-tool`"), "{error}");
        assert!(error.contains("install the package `no-such-package`"), "{error}");
    }
}
