//! `host-trainer board`.

use super::args::BoardArgs;
use crate::device::board::flash;
use crate::device::firmware::Inputs;
use crate::error::Result;
use crate::model::weights::AlignedBytes;

pub(super) fn run(args: &BoardArgs) -> Result<()> {
    let Some(path) = &args.weights else { return flash(args.board, &Inputs::default()) };
    let bytes = AlignedBytes::read(path)?;
    flash(args.board, &Inputs { weights: Some(bytes.model(path)?), ..Inputs::default() })
}
