//! Definitions of `meshproof images`.

use camino::Utf8PathBuf;
use clap::Args;

use super::args::Format;

/// Options of `images`.
#[derive(Debug, Args)]
pub struct ImagesArgs {
    /// Only images whose name contains this word, such as `echo`
    #[arg(value_name = "WORD")]
    pub word: Option<String>,
    /// Hand them to Docker
    #[arg(long)]
    pub load: bool,
    /// Write them into a file that `docker load`, `ctr images import` and `kind load image-archive` read
    #[arg(long, value_name = "FILE")]
    pub out: Option<Utf8PathBuf>,
    /// Folder of the programs; by default that of this one
    #[arg(long, value_name = "DIR")]
    pub programs: Option<Utf8PathBuf>,
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
    /// The same as `--format json`
    #[arg(long)]
    pub json: bool,
}
