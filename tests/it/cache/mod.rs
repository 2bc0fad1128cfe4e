//! The cache of replies: the cases of `tests/cases/cache.txt` under a clock that the test moves and at the real
//! door, then what takes several clients at once.

mod admission;
mod bounds;
mod case;
mod clocked;
mod door;
mod purge;
mod semantics;
mod shared;
mod together;
mod writes;
