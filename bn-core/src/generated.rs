//! What generated code calls, and nobody else: see the module `build`.

pub use bytemuck::{must_cast_mut as cast_mut, must_cast_ref as cast};

pub use crate::format::open;
pub use crate::kernels::{part, split};

use crate::format::FormatError;
use crate::kernels::Fault;

/// Says in which step a fault is.
#[inline(always)]
pub fn in_step(step: usize, proved: Result<(), Fault>) -> Result<(), FormatError> {
    proved.map_err(|fault| FormatError::Stream { step, fault })
}
