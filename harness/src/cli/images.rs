//! Definitions of `meshproof images` and `meshproof bundle`.

use camino::Utf8PathBuf;
use clap::Args;

use super::args::Format;
use crate::bundle::Part;

/// Options of `images`.
#[derive(Debug, Args)]
pub struct ImagesArgs {
    /// Only images whose name contains this word, such as `echo`
    #[arg(value_name = "WORD")]
    pub word: Option<String>,
    /// Hand them to Docker, and remove those that had their names and that no container has
    #[arg(long)]
    pub load: bool,
    /// Write them into a file that `docker load`, `ctr images import` and `kind load image-archive` read
    #[arg(long, value_name = "FILE")]
    pub out: Option<Utf8PathBuf>,
    /// Take them from a bundle, which is held against what it says of itself first; nothing is made
    #[arg(long, value_name = "FILE", conflicts_with_all = ["word", "programs", "limit"])]
    pub bundle: Option<Utf8PathBuf>,
    /// Folder of the programs; by default that of this one
    #[arg(long, value_name = "DIR")]
    pub programs: Option<Utf8PathBuf>,
    /// Fail where an image is larger than so many megabytes beside Envoy; `cargo xtask images` says 40
    #[arg(long, value_name = "MEGABYTES", overrides_with = "limit")]
    pub limit: Option<u64>,
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
    /// The same as `--format json`
    #[arg(long)]
    pub json: bool,
}

/// Options of `bundle`.
#[derive(Debug, Args)]
pub struct BundleArgs {
    /// The file to write; by default meshproof-bundle-VERSION-ARCHITECTURE.tar.gz
    #[arg(long, value_name = "FILE")]
    pub out: Option<Utf8PathBuf>,
    /// Only these parts, such as `ours,node`; by default all
    #[arg(long, value_enum, value_delimiter = ',', value_name = "PART")]
    pub only: Vec<Part>,
    /// Image of the nodes; by default the one that is locked for this version
    #[arg(long, value_name = "IMAGE")]
    pub node_image: Option<String>,
    /// Release of Istio; by default the one that is locked for this version
    #[arg(long, value_name = "VERSION")]
    pub istio_version: Option<String>,
    /// Folder with Istio's charts, such as base-1.30.3.tgz
    #[arg(long, value_name = "DIR", default_value = "charts")]
    pub charts: Utf8PathBuf,
    /// Folder of our programs; by default that of this one
    #[arg(long, value_name = "DIR")]
    pub programs: Option<Utf8PathBuf>,
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
    /// The same as `--format json`
    #[arg(long)]
    pub json: bool,
}
