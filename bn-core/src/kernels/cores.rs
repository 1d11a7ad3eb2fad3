//! The cores for whose costs a plan is made.

/// A core. A plan is made for the costs of one; any other runs it too, with the same bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Core {
    /// Cortex-M4.
    #[default]
    M4,
    /// Cortex-M7.
    M7,
    /// Cortex-M33 with the DSP extension; one without it is an [`M3`](Core::M3).
    M33,
    /// Cortex-M3.
    M3,
    /// Cortex-M0 and M0+.
    M0,
    /// RISC-V, RV32IM.
    Riscv,
    /// WebAssembly, which counts as RISC-V: nothing counts its instructions.
    Wasm,
}

impl Core {
    /// Every core.
    pub const ALL: [Core; 7] = [Core::M4, Core::M7, Core::M33, Core::M3, Core::M0, Core::Riscv, Core::Wasm];

    /// Its short name, as the command line has it.
    pub const fn name(self) -> &'static str {
        match self {
            Core::M4 => "m4",
            Core::M7 => "m7",
            Core::M33 => "m33",
            Core::M3 => "m3",
            Core::M0 => "m0",
            Core::Riscv => "riscv",
            Core::Wasm => "wasm",
        }
    }

    /// The core of that short name.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|core| core.name() == name)
    }

    /// Its name, for people.
    pub const fn title(self) -> &'static str {
        match self {
            Core::M4 => "Cortex-M4",
            Core::M7 => "Cortex-M7",
            Core::M33 => "Cortex-M33",
            Core::M3 => "Cortex-M3",
            Core::M0 => "Cortex-M0",
            Core::Riscv => "RISC-V core",
            Core::Wasm => "WebAssembly engine",
        }
    }

    /// What belongs to it of a list for cores without the DSP extension: Cortex-M3, Cortex-M0, RISC-V.
    pub(super) const fn plain<T: Copy>(self, [m3, m0, riscv]: [T; 3]) -> T {
        match self {
            Core::M0 => m0,
            Core::Riscv | Core::Wasm => riscv,
            _ => m3,
        }
    }

    /// What belongs to it of a list for cores with the DSP extension, then those without.
    pub(super) const fn of<T: Copy>(self, [dsp, m3, m0, riscv]: [T; 4]) -> T {
        if self.has_dsp() { dsp } else { self.plain([m3, m0, riscv]) }
    }

    /// Whether it multiplies two halves of a word at once: the DSP extension, whose kernels are in assembly.
    pub const fn has_dsp(self) -> bool {
        matches!(self, Core::M4 | Core::M7 | Core::M33)
    }
}
