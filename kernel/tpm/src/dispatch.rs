//! Who carries a command out: the handlers of the rows of `command_table`.

use crate::command::CommandCode;
use crate::commands;
use crate::request::Handler;

macro_rules! handlers {
    ($( $code:literal $name:ident $text:literal $section:literal $($path:ident)::+ [$($kind:ident $role:ident),*] [$($attribute:ident)*]; )+) => {
        /// The function that carries a command out.
        pub const fn handler(code: CommandCode) -> Handler {
            match code { $( CommandCode::$name => commands::$($path)::+, )+ }
        }
    };
}

command_table!(handlers);
