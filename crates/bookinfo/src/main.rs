//! The `bookinfo` program: a thin entry point over the library of the same name.

use std::process::ExitCode;

fn main() -> ExitCode {
    bookinfo::main()
}
