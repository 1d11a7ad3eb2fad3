//! Every file of assembly, once: functions share macros. Linked in where the build script has chosen it.
//!
//! The `.s` files are plain GNU syntax with named registers and a diagram of each tile. They use no floating point and no
//! global state, keep the calling convention, and need LDM and STM at 4-byte aligned addresses only, which the types of the
//! buffers guarantee.
#![allow(unsafe_code)]

use core::arch::global_asm;

// The name of an Armv8-M target does not include the DSP extension; this is for the assembler alone.
#[cfg(all(bn_lenet_armv8m, bn_lenet_arch = "cortex_m_dsp"))]
global_asm!(".cpu cortex-m33");

#[cfg(bn_lenet_arch = "cortex_m_dsp")]
global_asm!(
    include_str!("function.s"),
    include_str!("products.s"),
    include_str!("winograd5/cortex_m_dsp/transform.s"),
    include_str!("winograd5/cortex_m_dsp/inverse.s"),
    include_str!("winograd5/cortex_m_dsp/conv1.s"),
    include_str!("winograd5/cortex_m_dsp/conv2.s"),
    include_str!("linear/cortex_m_dsp/linear.s"),
    include_str!("conv/cortex_m/dsp.s"),
    include_str!("conv/cortex_m/conv.s"),
    include_str!("tiles/cortex_m_dsp/strip.s"),
    include_str!("winograd3/cortex_m_dsp/winograd3.s"),
    include_str!("polyphase3/cortex_m_dsp/polyphase3.s"),
    include_str!("pointwise/cortex_m_dsp/pointwise.s"),
    include_str!("depthwise3/cortex_m_dsp/depthwise3.s"),
    include_str!("../small/cortex_m_dsp/small_conv1.s"),
    include_str!("../small/cortex_m_dsp/small.s"),
    options(raw)
);
#[cfg(bn_lenet_arch = "armv7m")]
global_asm!(
    include_str!("function.s"),
    include_str!("products_armv7m.s"),
    include_str!("winograd5/armv7m/transform.s"),
    include_str!("winograd5/armv7m/conv.s"),
    include_str!("linear/armv7m/linear.s"),
    include_str!("pointwise/armv7m/pointwise.s"),
    include_str!("depthwise3/armv7m/depthwise3.s"),
    include_str!("conv/cortex_m/armv7m.s"),
    include_str!("conv/cortex_m/conv.s"),
    include_str!("conv/cortex_m/eight.s"),
    options(raw)
);
#[cfg(bn_lenet_arch = "armv6m")]
global_asm!(
    include_str!("function_armv6m.s"),
    include_str!("products_armv6m.s"),
    include_str!("scale_armv6m.s"),
    include_str!("winograd5/armv6m/transform.s"),
    include_str!("winograd5/armv6m/conv.s"),
    include_str!("linear/armv6m/linear.s"),
    include_str!("pointwise/armv6m/pointwise.s"),
    include_str!("depthwise3/armv6m/depthwise3.s"),
    options(raw)
);
