//! `host-trainer board`.

use super::args::BoardArgs;
use crate::device::firmware::Inputs;
use crate::device::flash::flash;
use crate::error::Result;
use crate::model::weights;

pub(super) fn run(args: &BoardArgs) -> Result<()> {
    let Some(path) = &args.weights else { return flash(args.board, &Inputs::default()) };
    let weights = weights::read(path)?;
    flash(args.board, &Inputs { weights: Some(&weights), ..Inputs::default() })
}
