//! Authentication: who is calling, by the credential that the request carries.
//!
//! [`provider`] is what every way of authenticating has in common.

pub mod introspect;
pub mod jwt;
mod object;
pub mod provider;
mod verdicts;
mod web;
