//! ONNX Runtime in Python, which computes what our ONNX files say: as it is installed, or fetched into the target directory.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use ndarray::Array4;

/// What tests/onnx_runtime.py needs.
const PACKAGES: [&str; 2] = ["onnxruntime==1.32.0", "numpy==2.4.6"];

/// An interpreter that can import ONNX Runtime.
pub(crate) struct Python {
    program: PathBuf,
    /// Where the packages lie, if not with the interpreter.
    packages: Option<PathBuf>,
}

impl Python {
    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        if let Some(packages) = &self.packages {
            command.env("PYTHONPATH", packages);
        }
        command.stdin(Stdio::null());
        command
    }

    fn imports(&self) -> bool {
        let output = self.command().args(["-c", "import numpy, onnxruntime"]).output();
        output.is_ok_and(|output| output.status.success())
    }

    /// What ONNX Runtime makes of inputs as the network's first node reads them. Files beside the model are written.
    pub(crate) fn outputs(&self, inputs: &Array4<f32>, model: &Path) -> Vec<f32> {
        let raw = model.with_extension("onnx.inputs");
        let values = inputs.as_slice().expect("row-major");
        std::fs::write(&raw, values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<_>>()).unwrap();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("onnx_runtime.py");
        let output = self.command().arg(script).arg(raw).arg(model).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let outputs = std::fs::read(model.with_extension("onnx.outputs")).unwrap();
        outputs.as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)).collect()
    }
}

/// `PEERS_PYTHON` or `python3` as it is, or with packages of our own. Tests that take it are ignored unless they are asked for.
pub(crate) fn onnx_runtime() -> Python {
    let program = PathBuf::from(std::env::var_os("PEERS_PYTHON").unwrap_or_else(|| "python3".into()));
    let as_it_is = Python { program: program.clone(), packages: None };
    if as_it_is.imports() {
        return as_it_is;
    }
    let packages = Path::new(env!("CARGO_TARGET_TMPDIR")).join(PACKAGES.join("-"));
    let python = Python { program, packages: Some(packages.clone()) };
    if python.imports() || (install(&as_it_is, &packages) && python.imports()) {
        return python;
    }
    panic!("install python3 with pip, or type: pip install {}", PACKAGES.join(" "))
}

/// Fetches the packages beside their place and renames them, so that nobody finds half of them.
fn install(python: &Python, packages: &Path) -> bool {
    let Ok(beside) = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")) else { return false };
    let place = beside.path().join("packages");
    let mut pip = python.command();
    let quietly = ["--quiet", "--disable-pip-version-check", "--root-user-action=ignore"];
    pip.args(["-m", "pip", "install"]).args(quietly).arg("--target").arg(&place).args(PACKAGES);
    let installed = pip.stdout(Stdio::null()).status().is_ok_and(|status| status.success());
    // Another process may have been faster; its packages are as good.
    installed && (std::fs::rename(&place, packages).is_ok() || packages.exists())
}
