//! `host-trainer board`.

use super::args::BoardArgs;
use crate::board::flash;
use crate::error::Result;
use crate::firmware::Inputs;
use crate::weights::AlignedBytes;

pub(super) fn run(args: &BoardArgs) -> Result<()> {
    let Some(path) = &args.weights else { return flash(args.board, &Inputs::default()) };
    let bytes = AlignedBytes::read(path)?;
    flash(args.board, &Inputs { weights: Some(bytes.model(path)?), ..Inputs::default() })
}
