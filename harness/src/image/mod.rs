//! Container images of programs of this machine, made from nothing: no base image, no registry, no build tool.
//!
//! [`mod@archive`] and [`layer`] turn files into the bytes of an image and its digest, [`mod@reference`] takes names apart, [`elf`]
//! tells what a program needs besides itself, [`libraries`] finds that on this machine, [`ours`] names the images of this project, [`load`]
//! hands them to Docker, [`mod@replace`] removes those that had their names.
//! The same files give the same bytes and so the same digest, on every machine and on every day.

pub mod archive;
pub mod elf;
pub mod layer;
pub mod libraries;
pub mod load;
pub mod ours;
pub mod reference;
pub mod replace;
pub mod system;

pub use archive::{Config, Image, archive};
pub use layer::{Content, Entry, Layer};
pub use reference::Reference;
pub use replace::replace;
