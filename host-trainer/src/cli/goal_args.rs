//! What a plan is made for: the flags of `plan` and `export`.

use bn_core::kernels::Core;
use bn_core::plan::Goal;
use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser as _};

/// The core and the budgets.
#[derive(Args, Clone, Copy, Debug, Default)]
pub struct GoalArgs {
    /// The core whose instructions count where a layer has several kernels. Any other runs the file too, with the same bits
    #[arg(long, value_name = "CORE", default_value = "m4", value_parser = core())]
    pub core: Core,
    /// Most bytes of flash for what a firmware links of the file, 100k being 102,400; its code comes on top
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    pub flash: Option<usize>,
    /// Most bytes of RAM for the arena; the input and the stack come on top
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    pub ram: Option<usize>,
}

impl GoalArgs {
    /// The same, for the planner.
    pub fn goal(self) -> Goal {
        let Self { core, flash, ram } = self;
        Goal { core, flash, ram }
    }
}

fn core() -> impl clap::builder::TypedValueParser<Value = Core> {
    PossibleValuesParser::new(Core::ALL.map(Core::name)).map(|name| Core::of_name(&name).expect("a name from the list"))
}

/// Bytes, or so many times 1,024 with a `k`.
fn bytes(text: &str) -> Result<usize, String> {
    let (digits, unit) = text.strip_suffix(['k', 'K']).map_or((text, 1), |digits| (digits, 1024));
    let number = digits.parse::<usize>().ok().and_then(|number| number.checked_mul(unit));
    number.ok_or_else(|| "it must be a number of bytes, or of 1,024 bytes with a k behind it".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_may_be_thousands() {
        assert_eq!(["100k", "100K", "0", "4096"].map(|text| bytes(text).unwrap()), [102_400, 102_400, 0, 4096]);
        for wrong in
            ["", "k", "-1", "1.5k", "10m", "99999999999999999999", "99999999999999999999k", "9007199254740993000k"]
        {
            assert!(bytes(wrong).is_err(), "{wrong}");
        }
    }
}
