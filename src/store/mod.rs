//! Where the cells of limits are kept: in this process, or in a Redis or Valkey that several nodes share.
//! Sets that nodes follow are there too: `redis::follow`.
//!
//! Serves room 5. A cell is eight bytes under a `Key` of 128 bits; what it means is `policy::limit`'s to
//! say. All limits of one request are debited together or not at all, and nothing that is forgotten, lost
//! or given back ever admits a request that would not have been admitted otherwise.

pub mod clock;
pub mod key;
pub mod memory;
pub mod redis;
