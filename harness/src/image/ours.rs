//! The images of this project, from the table that the embedded provider starts the same programs by. Tags are those of the manifests.

use std::collections::BTreeMap;
use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};
use substrate_config::ImageRule;

use super::archive::{Config, Image};
use super::layer::{Entry, Layer};
use super::{libraries, system};
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
}

impl Made {
    /// What it weighs beside Envoy, in bytes.
    #[must_use]
    pub fn own_bytes(&self) -> usize {
        self.image.size() - self.envoy_bytes
    }
}

/// What an image is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Recipe {
    name: String,
    /// Path in the image to path here.
    files: BTreeMap<Utf8PathBuf, Utf8PathBuf>,
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

fn made(recipe: &Recipe, layers: &mut Layers) -> Result<Made, Error> {
    let mut files = recipe.files.clone();
    for (program, package) in recipe.tools {
        let here = system::program(program).ok_or_else(|| Error::NoProgram {
            image: recipe.name.clone(),
            program,
            package,
        })?;
        files.insert(Utf8Path::new("/usr/sbin").join(program), here);
    }
    let envoy = files.iter().find(|(there, _)| there.file_name() == Some(ENVOY)).map(|(_, here)| here);
    let envoy_bytes = envoy.and_then(|here| std::fs::metadata(here).ok()).map_or(0, |found| found.len());
    let pack = |source| Error::Pack { image: recipe.name.clone(), source };
    let image = Image {
        names: vec![recipe.name.clone()],
        layers: vec![layers.needs(&files, pack)?, layers.programs(&files, pack)?],
        config: Config {
            entrypoint: recipe.entrypoint.clone(),
            env: [(PATH.0.to_owned(), PATH.1.to_owned())].into(),
            ..Config::default()
        },
    };
    Ok(Made { image, envoy_bytes: usize::try_from(envoy_bytes).unwrap_or(usize::MAX) })
}

/// Layers that were made, so that images with the same content share one.
#[derive(Default)]
struct Layers {
    needs: BTreeMap<Vec<Utf8PathBuf>, Arc<Layer>>,
    programs: BTreeMap<BTreeMap<Utf8PathBuf, Utf8PathBuf>, Arc<Layer>>,
}

impl Layers {
    /// What programs need: loader, libraries, and the folder for temporary files.
    fn needs(
        &mut self,
        files: &BTreeMap<Utf8PathBuf, Utf8PathBuf>,
        pack: impl Fn(std::io::Error) -> Error,
    ) -> Result<Arc<Layer>, Error> {
        let programs: Vec<&Utf8Path> = files.values().map(Utf8PathBuf::as_path).collect();
        let mut entries = libraries::of(&programs)?;
        let paths: Vec<Utf8PathBuf> = entries.iter().map(|entry| entry.path.clone()).collect();
        if let Some(layer) = self.needs.get(&paths) {
            return Ok(Arc::clone(layer));
        }
        entries.push(Entry::directory("/tmp", 0o1777));
        let layer = Arc::new(Layer::new(entries).map_err(pack)?);
        self.needs.insert(paths, Arc::clone(&layer));
        Ok(layer)
    }

    fn programs(
        &mut self,
        files: &BTreeMap<Utf8PathBuf, Utf8PathBuf>,
        pack: impl Fn(std::io::Error) -> Error,
    ) -> Result<Arc<Layer>, Error> {
        if let Some(layer) = self.programs.get(files) {
            return Ok(Arc::clone(layer));
        }
        let entries: Vec<Entry> =
            files.iter().map(|(there, here)| libraries::program(here, there)).collect::<Result<_, _>>()?;
        let layer = Arc::new(Layer::new(entries).map_err(pack)?);
        self.programs.insert(files.clone(), Arc::clone(&layer));
        Ok(layer)
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
