//! Builds the firmware with cargo, with given weights and images baked in, and reads the sizes of what came out. Writes into
//! the target directory alone.

mod cargo;
mod fits;
mod library;
mod patch;

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use bn_core::file::WeightsFile;
use firmware_protocol as protocol;
use object::elf::SHF_WRITE;
use object::{Object, ObjectSection, ObjectSegment, ObjectSymbol, SectionFlags};
use tempfile::TempDir;

use crate::data::Split;
use crate::device::board::Board;
use crate::device::codes::Codes;
use crate::device::footprint::{Footprint, footprint};
use crate::device::machine::Machine;
use crate::device::setup;
use crate::error::{Error, Result};
use crate::files;
use crate::model::weights;
use crate::notice::notice;

pub use crate::device::builds::{Build, Program};
pub use crate::device::checkout::{shipped_weights, workspace_root};
pub use library::{Library, LibraryRequest, build_library};
pub use patch::{change_weights, replace_networks, replace_weights};

/// What is baked into the firmware; `None` is what the repository ships.
#[derive(Clone, Copy, Debug, Default)]
pub struct Inputs<'a> {
    /// The weights.
    pub weights: Option<&'a WeightsFile>,
    /// Images that `demo` classifies, with their labels.
    pub images: Option<&'a Split>,
    /// The emulator's machine that it is built for, unless there is a `board`.
    pub machine: Machine,
    /// The board that it is built for.
    pub board: Option<Board>,
    /// Which build of the network.
    pub build: Build,
}

/// Built programs: copies of their own, which another build does not touch and which vanish with this value.
#[derive(Debug)]
pub struct Firmware {
    directory: TempDir,
}

impl Firmware {
    /// The ELF of a program that was built.
    pub fn elf(&self, program: Program) -> PathBuf {
        self.directory.path().join(program.name())
    }
}

/// What a program takes of the chip, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Everything that is flashed.
    pub flash: u64,
    /// The weights in it, tables included.
    pub weights: u64,
    /// Statics in RAM.
    pub statics: u64,
    /// Code of an inference: the network and all that it calls, without the parser.
    pub inference_code: u64,
    /// Stack that no inference exceeds, from the machine code.
    pub stack_bound: u64,
}

/// The one function of the programs below which an inference happens: part of its symbol.
pub(crate) const INFERENCE: &str = "firmware_demo10classifier5infer";

/// Builds the programs of the firmware with these inputs. Installs the target's libraries first where that is possible.
///
/// # Errors
/// [`Error::Missing`] without the target or the sources, [`Error::Tool`] with the compiler's reason, [`Error::Io`];
/// [`Error::BadArgument`] for a network that the board cannot hold, with those that can, and for images that it does not read.
pub fn build(inputs: &Inputs<'_>) -> Result<Firmware> {
    build_programs(inputs, &Program::ALL)
}

/// [`build`] of some programs: each takes a second or two to link.
///
/// # Errors
/// As [`build`].
pub fn build_programs(inputs: &Inputs<'_>, programs: &[Program]) -> Result<Firmware> {
    let root = workspace_root()?;
    let (target, board) = match inputs.board {
        Some(board) => (board.target(), board.name()),
        None => (inputs.machine.target(), inputs.machine.board()),
    };
    let shipped = weights::read(&shipped_weights()?)?;
    let weights = inputs.weights.unwrap_or(&shipped);
    fits::check(weights, inputs)?;
    setup::ensure_target_of(target)?;
    let folder = cargo::target_directory(&root)?.join("firmware-inputs");
    // Held until the ELFs are copied.
    let _guard = exclusive(&folder)?;

    let baked = bake(weights, &shipped, inputs.images, &folder)?;
    let build = cargo::build(&root, &cargo::Request { target, board, build: inputs.build, programs, baked: &baked });
    notice(&format!("building the firmware for {target}"));
    let executables = cargo::executables(build)?;
    let directory = TempDir::new().map_err(Error::io("create a directory in", std::env::temp_dir()))?;
    let firmware = Firmware { directory };
    for program in programs {
        let built = executables.iter().find(|path| path.file_stem().is_some_and(|name| name == program.name()));
        let built = built.ok_or_else(|| Error::Tool {
            tool: "cargo".into(),
            problem: format!("it made no program {}", program.name()),
        })?;
        fs::copy(built, firmware.elf(*program)).map_err(Error::io("copy", built))?;
    }
    Ok(firmware)
}

/// Makes a folder and locks it: another process may build with other weights at the same time.
fn exclusive(folder: &Path) -> Result<File> {
    fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
    let lock = folder.join("lock");
    let guard = File::create(&lock).map_err(Error::io("create", &lock))?;
    guard.lock().map_err(Error::io("lock", &lock))?;
    Ok(guard)
}

/// Writes what is baked in into `folder`, and says by which variables the firmware's build script finds it.
fn bake(
    weights: &WeightsFile,
    shipped: &WeightsFile,
    images: Option<&Split>,
    folder: &Path,
) -> Result<Vec<(&'static str, PathBuf)>> {
    let mut baked = Vec::new();
    // The shipped weights under another name would only make cargo link again, and so would a file with the right contents
    // and a new modification time.
    if weights.to_bytes() != shipped.to_bytes() {
        let path = folder.join("weights.bin");
        files::write_if_different(&path, &weights.to_bytes())?;
        baked.push(("BN_LENET_WEIGHTS", path));
    }
    if let Some(images) = images {
        let path = folder.join("images.bin");
        files::write_if_different(&path, &demo_images(weights, images)?)?;
        baked.push(("BN_LENET_IMAGES", path));
    }
    Ok(baked)
}

/// The file of baked images: for each its label, or that nobody knows it, then its bytes.
///
/// # Errors
/// [`Error::BadArgument`] for images of another shape than the network's.
pub fn demo_images(weights: &WeightsFile, images: &Split) -> Result<Vec<u8>> {
    let codes = Codes::of(weights, &images.inputs)?;
    let label = |index| images.labels.get(index).copied().unwrap_or(protocol::UNKNOWN_LABEL);
    Ok((0..codes.len()).flat_map(|index| [&[label(index)], codes.one(index)].concat()).collect())
}

/// Sizes of a built program that classifies.
///
/// # Errors
/// [`Error::Io`], or [`Error::BadFile`] when it is no ELF or the stack of its inference has no bound.
pub fn sizes(elf: &Path) -> Result<Sizes> {
    let bytes = files::read(elf, &files::ELF)?;
    let file = parse_elf(elf, &bytes)?;
    // What a segment has in the file is flashed; initial values of statics are among it.
    let flash = file.segments().filter_map(|segment| segment.data().ok()).map(|data| data.len() as u64).sum();
    let is_static = |section: &object::Section<'_, '_>| {
        let writable =
            matches!(section.flags(), SectionFlags::Elf { sh_flags } if sh_flags & u64::from(SHF_WRITE) != 0);
        // RISC-V's linker script makes a section of what is left for the stack.
        writable && section.name() != Ok(".stack")
    };
    let statics = file.sections().filter(is_static).map(|section| section.size()).sum();
    let weights = patch::symbol(&file, patch::WEIGHTS).map_or(0, |symbol| symbol.size());
    let Footprint { code: inference_code, stack: stack_bound, .. } = footprint(elf, INFERENCE)?;
    Ok(Sizes { flash, weights, statics, inference_code, stack_bound })
}

fn parse_elf<'a>(path: &Path, bytes: &'a [u8]) -> Result<object::File<'a>> {
    object::File::parse(bytes).map_err(|error| Error::bad_file(path, format!("not an ELF: {error}"), "build it again"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn demo_images_are_label_then_pixels() {
        let mut image = [[0; 28]; 28];
        image[0][0] = 5;
        image[27][27] = 6;
        let weights = weights::read(&shipped_weights().unwrap()).unwrap();
        let bytes = demo_images(&weights, &Split::of_images(vec![image, image], vec![3, 9])).unwrap();
        assert_eq!(bytes.len(), 2 * 785);
        assert_eq!((bytes[0], bytes[1], bytes[784], bytes[785]), (3, 5, 6, 9));
    }

    #[test]
    fn an_elf_is_told_from_other_files() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "no ELF").unwrap();
        let error = sizes(file.path()).unwrap_err();
        assert!(matches!(error, Error::BadFile { .. }), "{error}");
    }
}
