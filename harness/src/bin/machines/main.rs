//! How long virtual machines take: their image to be made, and a machine from its start to the first request that it answers
//! over the mesh. Started by `cargo xtask bench vm`, which says what the figures are measured against.

mod image;
mod starts;

use camino::Utf8PathBuf;
use clap::Parser;

/// Measures virtual machines; prints one JSON document.
#[derive(Debug, Parser)]
enum Args {
    /// Make the image of machines that are containers, and look for it once more. The one that is there is removed, and so is
    /// what is made
    Image {
        /// Folder in which nothing is remembered of images
        #[arg(long)]
        state: Utf8PathBuf,
        /// How often
        #[arg(long, default_value_t = 3)]
        times: u32,
    },
    /// Let a machine of an environment join anew
    Starts {
        /// Name of the environment
        #[arg(long)]
        name: String,
        /// The machine: it has a service of its own on port 8080
        #[arg(long, default_value = "echo-vm")]
        machine: String,
        /// How often
        #[arg(long, default_value_t = 5)]
        times: u32,
    },
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let document = match Args::parse() {
        Args::Image { state, times } => image::measure(&state, times).await?,
        Args::Starts { name, machine, times } => starts::measure(&name, &machine, times).await?,
    };
    println!("{}", serde_json::to_string_pretty(&document)?);
    Ok(())
}
