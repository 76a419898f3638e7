//! How sessions authorize commands: the authorization area, the checks, parameter encryption, and the area of the response.

pub mod area;
pub mod checks;
pub mod encryption;
pub mod response;
