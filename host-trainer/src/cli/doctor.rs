//! `host-trainer doctor`.

use std::io::Write;

use clap::Args;

use super::output::{self, Table};
use crate::doctor::{Finding, doctor};
use crate::error::Result;

/// `doctor`.
#[derive(Args, Debug)]
pub struct DoctorArgs {
    /// Print one JSON list on stdout instead of text
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &DoctorArgs, out: &mut dyn Write) -> Result<()> {
    let findings = doctor();
    if args.json {
        return output::json(out, &findings);
    }
    output::text(out, &text(&findings))
}

fn text(findings: &[Finding]) -> String {
    let mut table = Table::default();
    for finding in findings {
        match &finding.found {
            Some(found) => table.row(finding.what, found),
            None => table.row(finding.what, format!("missing, for {}: {}", finding.used_for, finding.remedy)),
        };
    }
    table.render()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_has_its_command() {
        let of = |what, found: Option<&str>, remedy: &str| Finding {
            what,
            used_for: "demo",
            found: found.map(Into::into),
            remedy: remedy.into(),
        };
        let shown = text(&[of("QEMU", Some("version 7"), ""), of("targets", None, "rustup target add x")]);
        assert_eq!(shown, "QEMU     version 7\ntargets  missing, for demo: rustup target add x\n");
    }

    #[test]
    fn all_of_it_fits_a_screen() {
        let shown = text(&doctor());
        assert!(shown.lines().count() <= 24 && shown.contains("QEMU for Arm"), "{shown}");
    }
}
