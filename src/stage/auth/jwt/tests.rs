//! Tokens as strangers write them, through the whole provider: each line is a token and what becomes of it.

mod forge;
mod hostile;
mod provider;
mod refresh;
pub(in crate::stage::auth) mod website;
