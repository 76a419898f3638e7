//! The program `tpm_bench`, one of `make bench`; see the library's module `bench`.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    differential::bench::main()
}
