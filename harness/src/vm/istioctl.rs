//! The files of a machine as Istio's own command line writes them: `istioctl experimental workload entry configure`, for meshes whose
//! control plane is Istio's. Flags and file names: `istioctl/pkg/workload/workload.go` of Istio.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Output, Stdio};

use camino::{Utf8Path, Utf8PathBuf};
use tokio::process::Command;

use super::configure::Wanted;
use super::files::Files;

/// Which program, and how it reaches the cluster.
#[derive(Clone, Debug)]
pub struct Istioctl {
    /// The program, by name or path.
    pub program: Utf8PathBuf,
    /// Kubeconfig of the cluster; by default the program's own choice.
    pub kubeconfig: Option<Utf8PathBuf>,
    /// Context of the kubeconfig; by default the current one.
    pub context: Option<String>,
}

/// Why there are no files.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be started.
    #[error("cannot run {program}; install Istio's command line, or name it by --istioctl=PROGRAM")]
    Start {
        /// Which program.
        program: Utf8PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// It refused.
    #[error("{program} ended with {code}: {said}")]
    Refused {
        /// Which program.
        program: Utf8PathBuf,
        /// How it ended.
        code: String,
        /// What it wrote.
        said: String,
    },
    /// It did not write a file that a machine needs.
    #[error("{program} wrote no {name}, which a machine needs; it said: {said}")]
    Incomplete {
        /// Which program.
        program: Utf8PathBuf,
        /// The file.
        name: &'static str,
        /// What it wrote to its output.
        said: String,
    },
    /// The folder into which it writes.
    #[error("cannot make a folder in {room} for what {program} writes; name another place by -o")]
    Folder {
        /// Which program.
        program: Utf8PathBuf,
        /// Where.
        room: Utf8PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl Istioctl {
    /// Generates the files of a machine. The program writes into a new folder in `room`, which is removed.
    ///
    /// # Errors
    /// [`Error`]; nothing is left then.
    pub async fn configure(&self, wanted: &Wanted, room: &Utf8Path) -> Result<Files, Error> {
        let folder = |source| Error::Folder { program: self.program.clone(), room: room.to_owned(), source };
        // It writes the token for everybody to read, so that nobody may get into the folder.
        let mut private = tempfile::Builder::new();
        private.prefix(".istioctl-").permissions(Permissions::from_mode(0o700));
        let directory = std::fs::create_dir_all(room).and_then(|()| private.tempdir_in(room)).map_err(folder)?;
        let path =
            Utf8Path::from_path(directory.path()).ok_or_else(|| folder(io::ErrorKind::InvalidFilename.into()))?;
        let mut command = Command::new(&self.program);
        command.args(self.arguments(wanted, path)).stdin(Stdio::null()).kill_on_drop(true);
        let output = command.output().await;
        let output = output.map_err(|source| Error::Start { program: self.program.clone(), source })?;
        let said = words(&output);
        if !output.status.success() {
            return Err(Error::Refused { program: self.program.clone(), code: output.status.to_string(), said });
        }
        self.files(path, &said)
    }

    /// Its arguments.
    fn arguments(&self, wanted: &Wanted, directory: &Utf8Path) -> Vec<String> {
        let mut all: Vec<String> = ["experimental", "workload", "entry", "configure"].map(str::to_owned).into();
        let mut option = |name: &str, value: Option<String>| {
            all.extend(value.map(|value| format!("--{name}={value}")));
        };
        option("file", wanted.group_file.as_ref().map(ToString::to_string));
        option("name", wanted.group_file.is_none().then(|| wanted.group.clone()));
        option("namespace", Some(wanted.namespace.clone()));
        option("clusterID", Some(wanted.cluster.clone()));
        option("ingressIP", wanted.ingress_address.map(|address| address.to_string()));
        option("ingressService", Some(wanted.ingress_service.clone()));
        option("internalIP", wanted.address.map(|address| address.to_string()));
        option("autoregister", Some(wanted.automatic_registration.to_string()));
        option("capture-dns", Some(wanted.capture_dns.to_string()));
        option("tokenDuration", Some(wanted.token_seconds.to_string()));
        option("kubeconfig", self.kubeconfig.as_ref().map(ToString::to_string));
        option("context", self.context.clone());
        option("output", Some(directory.to_string()));
        all
    }

    /// What it wrote. It writes an empty `hosts` where it finds no address of the control plane.
    fn files(&self, directory: &Utf8Path, said: &str) -> Result<Files, Error> {
        let read = |name: &'static str| {
            let content = std::fs::read_to_string(directory.join(name)).unwrap_or_default();
            let lacking = || Error::Incomplete { program: self.program.clone(), name, said: said.to_owned() };
            if content.trim().is_empty() { Err(lacking()) } else { Ok(content) }
        };
        Ok(Files {
            cluster_env: read("cluster.env")?,
            mesh: read("mesh.yaml")?,
            root_certificate: read("root-cert.pem")?,
            token: read("istio-token")?,
            hosts: read("hosts")?,
        })
    }
}

fn words(output: &Output) -> String {
    let all = [&output.stderr, &output.stdout].map(|bytes| String::from_utf8_lossy(bytes).trim().to_owned());
    let all: Vec<String> = all.into_iter().filter(|text| !text.is_empty()).collect();
    if all.is_empty() { "nothing".to_owned() } else { all.join("; ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted() -> Wanted {
        Wanted {
            group_file: None,
            group: "details-vm".to_owned(),
            namespace: "bookinfo".to_owned(),
            cluster: "cluster1".to_owned(),
            ingress_address: None,
            ingress_service: "istio-eastwestgateway".to_owned(),
            address: None,
            automatic_registration: true,
            capture_dns: true,
            hosts: Vec::new(),
            audience: "istio-ca".to_owned(),
            token_seconds: 3600,
        }
    }

    /// A script in the place of Istio's program, which is not here: what it is told, it writes beside itself.
    fn script(folder: &Utf8Path, text: &str) -> Istioctl {
        let program = folder.join("istioctl");
        let start =
            "#!/bin/sh\nfor word in \"$@\"; do case $word in --output=*) cd \"${word#--output=}\";; esac; done\n";
        std::fs::write(&program, format!("{start}{text}")).unwrap();
        std::fs::set_permissions(&program, Permissions::from_mode(0o755)).unwrap();
        Istioctl { program, kubeconfig: Some("kubeconfig.yaml".into()), context: None }
    }

    fn folder() -> (tempfile::TempDir, Utf8PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = Utf8PathBuf::from_path_buf(folder.path().to_owned()).unwrap();
        (folder, path)
    }

    #[test]
    fn what_is_wanted_becomes_flags() {
        let plain = Istioctl { program: "istioctl".into(), kubeconfig: None, context: None };
        let told = Istioctl { kubeconfig: Some("one.yaml".into()), context: Some("east".to_owned()), ..plain.clone() };
        let other = Wanted {
            group_file: Some("group.yaml".into()),
            ingress_address: Some("192.0.2.1".parse().unwrap()),
            address: Some("192.0.2.7".parse().unwrap()),
            automatic_registration: false,
            capture_dns: false,
            token_seconds: 600,
            ..wanted()
        };
        let lines = [plain.arguments(&wanted(), "out".into()), told.arguments(&other, "out".into())];
        insta::assert_snapshot!(lines.map(|line| line.join("\n")).join("\n\n"));
    }

    #[tokio::test]
    async fn what_it_writes_is_read_and_nothing_of_it_is_left() {
        let (_keep, folder) = folder();
        let text = format!(
            "echo \"$PWD\" > {folder}/where; stat -c %a . > {folder}/mode; echo A=1 > cluster.env; echo x: 1 > mesh.yaml; \
             echo ROOT > root-cert.pem; echo TOKEN > istio-token; echo 192.0.2.1 istiod.istio-system.svc > hosts"
        );
        let files = script(&folder, &text).configure(&wanted(), &folder.join("room")).await.unwrap();
        assert_eq!((files.cluster_env.as_str(), files.token.as_str()), ("A=1\n", "TOKEN\n"));
        assert_eq!(std::fs::read_to_string(folder.join("mode")).unwrap().trim(), "700");
        let place = std::fs::read_to_string(folder.join("where")).unwrap();
        assert!(!Utf8Path::new(place.trim()).exists(), "{place}");
    }

    #[tokio::test]
    async fn what_it_does_not_do_is_said_in_its_own_words() {
        let (_keep, folder) = folder();
        let nowhere = Istioctl { program: folder.join("none"), kubeconfig: None, context: None };
        let error = nowhere.configure(&wanted(), &folder).await.unwrap_err().to_string();
        assert!(error.contains("cannot run") && error.contains("--istioctl=PROGRAM"), "{error}");
        let refusing = script(&folder, "echo 'workloadgroup details-vm not found' >&2; exit 3");
        let error = refusing.configure(&wanted(), &folder).await.unwrap_err().to_string();
        assert!(error.ends_with("ended with exit status: 3: workloadgroup details-vm not found"), "{error}");
        let files = "for name in cluster.env mesh.yaml root-cert.pem istio-token; do echo a > $name; done; touch hosts";
        let silent = script(&folder, &format!("{files}; echo 'no ingress address'"));
        let error = silent.configure(&wanted(), &folder).await.unwrap_err().to_string();
        assert!(error.contains("wrote no hosts") && error.contains("no ingress address"), "{error}");
    }
}
