//! Shell completions and man pages, made from the same clap definitions that parse a program's arguments.
//!
//! A program of ours calls [`written`] before it looks at its arguments. `make install` runs each of them once for each [`KINDS`]
//! with the variable set; nobody else needs to know.
#![forbid(unsafe_code)]

use clap::CommandFactory;
use clap_complete::Shell;
use std::io::{self, Write};

/// Names what to write instead of doing the program's work.
pub const VARIABLE: &str = "VOUCHSAFE_MANUAL";

/// The values of the variable.
pub const KINDS: [&str; 4] = ["bash", "zsh", "fish", "man"];

/// Whether the variable asked for a completion or a man page, which then was written to stdout.
pub fn written<C: CommandFactory>() -> bool {
    let Ok(kind) = std::env::var(VARIABLE) else { return false };
    let mut page = Vec::new();
    let done = write::<C>(&kind, &mut page).and_then(|()| io::stdout().write_all(&page));
    if let Err(error) = done {
        eprintln!("{VARIABLE}={kind}: {error}");
    }
    true
}

/// Writes a completion or a man page; an error where there is no such kind.
fn write<C: CommandFactory>(kind: &str, output: &mut Vec<u8>) -> io::Result<()> {
    let mut command = C::command();
    let name = command.get_name().to_owned();
    let shell = match kind {
        "bash" => Shell::Bash,
        "zsh" => Shell::Zsh,
        "fish" => Shell::Fish,
        "man" => return man_page(command, output),
        _ => return Err(io::Error::other(format!("this is none of {}", KINDS.join(", ")))),
    };
    clap_complete::generate(shell, &mut command, name, output);
    Ok(())
}

/// The program's page, and behind it the options of each of its actions.
fn man_page(command: clap::Command, output: &mut Vec<u8>) -> io::Result<()> {
    let mut command = command.disable_help_subcommand(true);
    command.build();
    clap_mangen::Man::new(command.clone()).render(output)?;
    for action in command.get_subcommands().filter(|action| !action.is_hide_set()) {
        let title = format!("\n.SH \"{} {}\"\n", command.get_name(), action.get_name());
        output.extend_from_slice(title.to_uppercase().as_bytes());
        let page = clap_mangen::Man::new(action.clone());
        page.render_synopsis_section(output)?;
        page.render_description_section(output)?;
        page.render_options_section(output)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    /// Does something.
    #[derive(Parser)]
    #[command(name = "example")]
    struct Arguments {
        /// How loud
        #[arg(long)]
        volume: Option<u32>,
    }

    fn text(kind: &str) -> String {
        let mut page = Vec::new();
        write::<Arguments>(kind, &mut page).unwrap();
        String::from_utf8(page).unwrap()
    }

    #[test]
    fn every_kind_names_the_option() {
        for kind in KINDS {
            assert!(text(kind).contains("volume"), "{kind}");
        }
        assert!(text("man").contains(".TH example"));
    }

    #[test]
    fn another_kind_is_refused() {
        assert!(write::<Arguments>("tcsh", &mut Vec::new()).is_err());
    }
}
