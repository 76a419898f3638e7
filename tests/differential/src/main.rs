//! The program `differential`; see the library.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    differential::main()
}
