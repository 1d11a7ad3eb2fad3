//! Files from outside and files for outside. [`read`] takes every file in: bounded, and with the kind of a wrong one named.
//! [`write()`] puts every file out: in one step or not at all. No other module opens a file that a user named.

mod input;
mod kind;
mod output;

pub use input::{
    CHECKPOINT, COMPARISON, CSV, ELF, FOREIGN_MODEL, IDX, MODEL, NETWORK, PICTURE, TENSORS, WEIGHTS, Wanted, read,
    read_checked, read_part, try_read,
};
pub use kind::Kind;
pub use output::{check_output, is_leftover_of, remove, write, write_if_different, write_proved};
