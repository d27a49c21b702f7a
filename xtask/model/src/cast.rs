//! Conversions between floating-point types, to the bit as the reference does them.
//!
//! All are branch-free integer and float arithmetic that compilers turn into vector code; none depends on the
//! processor. Rounding is to nearest, ties to even.

use crate::dtype::Dtype;

/// The largest finite bfloat16, as binary32 bits.
const BF16_MAX: u32 = 0x7F7F_0000;

/// binary16 to binary32, exact; a NaN keeps its payload and is not quieted.
#[inline(always)]
pub fn f16_to_f32(bits: u16) -> f32 {
    let bits = u32::from(bits);
    let magnitude = (bits & 0x7FFF) << 13;
    // The exponent moves to binary32's bias: by 112 for numbers, by 224 for infinities and NaNs. Below the normal
    // range the value is a multiple of 2^-24, which a conversion from integer gives exactly.
    let normal = magnitude + if magnitude >= 0x0F80_0000 { 0x7000_0000 } else { 0x3800_0000 };
    let subnormal = ((magnitude >> 13) as i32 as f32 * f32::from_bits(0x3380_0000)).to_bits();
    f32::from_bits((if magnitude < 0x0080_0000 { subnormal } else { normal }) | (bits & 0x8000) << 16)
}

/// Rounds to the nearest value of binary16; the result is that value as binary32. NaN stays what it is.
#[inline(always)]
pub fn round_to_f16(value: f32) -> f32 {
    let bits = value.to_bits();
    let magnitude = bits & 0x7FFF_FFFF;
    let rounded = (magnitude + 0x0FFF + (magnitude >> 13 & 1)) & !0x1FFF;
    let rounded = if rounded >= 0x4780_0000 { 0x7F80_0000 } else { rounded };
    // Between 0.5 and 1 binary32 has steps of 2^-24, those of binary16's subnormals.
    let subnormal = ((f32::from_bits(magnitude) + 0.5) - 0.5).to_bits();
    let rounded = if magnitude < 0x3880_0000 { subnormal } else { rounded };
    let rounded = if magnitude > 0x7F80_0000 { magnitude } else { rounded };
    f32::from_bits(rounded | bits & 0x8000_0000)
}

/// The bits of a value of binary16 that [`round_to_f16`] gave. NaN gives its upper ten payload bits.
#[inline(always)]
pub fn exact_f16_bits(value: f32) -> u16 {
    let bits = value.to_bits();
    let magnitude = bits & 0x7FFF_FFFF;
    let normal = magnitude.wrapping_sub(0x3800_0000) >> 13;
    let subnormal = (f32::from_bits(magnitude) * 16_777_216.0) as i32 as u32;
    let special = 0x7C00 | (magnitude >> 13 & 0x3FF);
    let result = if magnitude < 0x3880_0000 { subnormal } else { normal };
    let result = if magnitude >= 0x7F80_0000 { special } else { result };
    (result | bits >> 16 & 0x8000) as u16
}

/// binary32 to binary16 as NumPy does it: a NaN keeps its sign and upper payload bits, and stays a NaN.
#[inline(always)]
pub fn f32_to_f16(value: f32) -> u16 {
    let bits = exact_f16_bits(round_to_f16(value));
    if value.is_nan() && bits & 0x3FF == 0 { bits | 1 } else { bits }
}

/// binary64 to binary16 as NumPy does it: rounded once; a NaN keeps its sign and upper payload bits.
#[inline(always)]
pub fn f64_to_f16(value: f64) -> u16 {
    if value.is_nan() {
        let (sign, payload) =
            ((value.to_bits() >> 48) as u16 & 0x8000, (value.to_bits() >> 42) as u16 & 0x3FF);
        return sign | 0x7C00 | payload.max(1);
    }
    // Rounded to odd, a binary32 still says on which side of two neighbours in binary16 the value lies.
    let near = value as f32;
    let toward_zero = near.to_bits() - u32::from(f64::from(near).abs() > value.abs());
    let odd = toward_zero | u32::from(f64::from(near) != value);
    f32_to_f16(f32::from_bits(odd))
}

/// bfloat16 to binary32, exact.
#[inline(always)]
pub fn bf16_to_f32(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}

/// bfloat16 to binary16 as `ml_dtypes` does it: every NaN becomes the quiet one of its sign.
#[inline(always)]
pub fn bf16_to_f16(bits: u16) -> u16 {
    let value = bf16_to_f32(bits);
    if value.is_nan() { bits & 0x8000 | 0x7E00 } else { exact_f16_bits(round_to_f16(value)) }
}

/// binary32 to bfloat16 as `ml_dtypes` does it: every NaN becomes the quiet one of its sign.
#[inline(always)]
pub fn f32_to_bf16(value: f32) -> u16 {
    let bits = value.to_bits();
    let rounded = bits.wrapping_add(0x7FFF + (bits >> 16 & 1)) >> 16;
    let quiet = bits >> 16 & 0x8000 | 0x7FC0;
    (if value.is_nan() { quiet } else { rounded }) as u16
}

/// binary32 to bfloat16 as a shard stores it: rounded while both ends are finite, else cut off.
#[inline(always)]
pub fn store_f32(value: f32) -> u16 {
    let bits = value.to_bits();
    let rounded = bits.wrapping_add(0x7FFF + (bits >> 16 & 1));
    ((if bits & 0x7FFF_FFFF < BF16_MAX { rounded } else { bits }) >> 16) as u16
}

/// An element type of a checkpoint that parameters are made of.
pub(crate) trait Source: Copy + Send + Sync + 'static {
    /// Bytes of one element.
    const SIZE: usize;
    /// The element whose little-endian bytes these are.
    fn load(bytes: &[u8]) -> Self;
    /// The value, exactly.
    fn to_f32(self) -> f32;
    /// As binary16.
    fn to_f16(self) -> u16;
    /// As binary16, and then exactly.
    fn to_f16_value(self) -> f32;
    /// As bfloat16.
    fn to_bf16(self) -> u16;
    /// `self + 1`, rounded to this type.
    fn plus_one(self) -> Self;
}

/// A binary16.
#[derive(Clone, Copy)]
pub(crate) struct F16(pub u16);
/// A bfloat16.
#[derive(Clone, Copy)]
pub(crate) struct Bf16(pub u16);

impl Source for F16 {
    const SIZE: usize = 2;
    #[inline(always)]
    fn load(bytes: &[u8]) -> Self {
        Self(u16::from_le_bytes([bytes[0], bytes[1]]))
    }
    #[inline(always)]
    fn to_f32(self) -> f32 {
        f16_to_f32(self.0)
    }
    #[inline(always)]
    fn to_f16(self) -> u16 {
        self.0
    }
    #[inline(always)]
    fn to_f16_value(self) -> f32 {
        self.to_f32()
    }
    #[inline(always)]
    fn to_bf16(self) -> u16 {
        f32_to_bf16(self.to_f32())
    }
    #[inline(always)]
    fn plus_one(self) -> Self {
        Self(f32_to_f16(self.to_f32() + 1.0))
    }
}

impl Source for Bf16 {
    const SIZE: usize = 2;
    #[inline(always)]
    fn load(bytes: &[u8]) -> Self {
        Self(u16::from_le_bytes([bytes[0], bytes[1]]))
    }
    #[inline(always)]
    fn to_f32(self) -> f32 {
        bf16_to_f32(self.0)
    }
    #[inline(always)]
    fn to_f16(self) -> u16 {
        bf16_to_f16(self.0)
    }
    #[inline(always)]
    fn to_f16_value(self) -> f32 {
        let value = self.to_f32();
        let quiet = f32::from_bits(value.to_bits() & 0x8000_0000 | 0x7FC0_0000);
        if value.is_nan() { quiet } else { round_to_f16(value) }
    }
    #[inline(always)]
    fn to_bf16(self) -> u16 {
        self.0
    }
    #[inline(always)]
    fn plus_one(self) -> Self {
        Self(f32_to_bf16(self.to_f32() + 1.0))
    }
}

impl Source for f32 {
    const SIZE: usize = 4;
    #[inline(always)]
    fn load(bytes: &[u8]) -> Self {
        Self::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
    }
    #[inline(always)]
    fn to_f32(self) -> f32 {
        self
    }
    #[inline(always)]
    fn to_f16(self) -> u16 {
        f32_to_f16(self)
    }
    #[inline(always)]
    fn to_f16_value(self) -> f32 {
        f16_to_f32(f32_to_f16(self))
    }
    #[inline(always)]
    fn to_bf16(self) -> u16 {
        f32_to_bf16(self)
    }
    #[inline(always)]
    fn plus_one(self) -> Self {
        self + 1.0
    }
}

/// Casts `elements` of a checkpoint to another type before anything else is done with them: binary64 to the type of
/// the model, perhaps after adding one, and what is concatenated with a wider type.
pub(crate) fn recast(from: Dtype, to: Dtype, plus_one: bool, elements: &[u8], out: &mut Vec<u8>) {
    fn each<S: Source>(to: Dtype, elements: &[u8], out: &mut Vec<u8>) {
        for element in elements.chunks_exact(S::SIZE) {
            match to {
                Dtype::F32 => out.extend_from_slice(&S::load(element).to_f32().to_le_bytes()),
                _ => narrow(f64::from(S::load(element).to_f32()), to, out),
            }
        }
    }
    match from {
        Dtype::F64 => {
            for element in elements.chunks_exact(8) {
                let mut bytes = [0; 8];
                bytes.copy_from_slice(element);
                narrow(f64::from_le_bytes(bytes) + f64::from(u8::from(plus_one)), to, out);
            }
        }
        Dtype::F16 => each::<F16>(to, elements, out),
        Dtype::Bf16 => each::<Bf16>(to, elements, out),
        _ => each::<f32>(to, elements, out),
    }
}

fn narrow(value: f64, to: Dtype, out: &mut Vec<u8>) {
    match to {
        Dtype::F16 => out.extend_from_slice(&f64_to_f16(value).to_le_bytes()),
        // By way of binary32, as `ml_dtypes` does it.
        Dtype::Bf16 => out.extend_from_slice(&f32_to_bf16(value as f32).to_le_bytes()),
        _ => out.extend_from_slice(&(value as f32).to_le_bytes()),
    }
}

/// Casts `elements` to `dtype` and stores them as a shard does, little-endian.
#[inline(always)]
pub(crate) fn cast<S: Source>(elements: &[u8], plus_one: bool, dtype: Dtype, out: &mut [u8]) {
    let pairs = elements.chunks_exact(S::SIZE).zip(out.chunks_exact_mut(2));
    let load = |bytes| {
        let element = S::load(bytes);
        if plus_one { element.plus_one() } else { element }
    };
    match dtype {
        Dtype::F16 => pairs.for_each(|(from, to)| to.copy_from_slice(&load(from).to_f16().to_le_bytes())),
        Dtype::Bf16 => pairs.for_each(|(from, to)| to.copy_from_slice(&load(from).to_bf16().to_le_bytes())),
        _ => pairs.for_each(|(from, to)| to.copy_from_slice(&store_f32(load(from).to_f32()).to_le_bytes())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use half::{bf16, f16};
    use proptest::prelude::*;

    #[test]
    fn every_binary16_survives() {
        for bits in 0..=u16::MAX {
            let value = f16_to_f32(bits);
            if f16::from_bits(bits).is_nan() {
                assert!(value.is_nan());
                assert_eq!(exact_f16_bits(value), bits);
            } else {
                assert_eq!(value.to_bits(), f16::from_bits(bits).to_f32().to_bits(), "{bits:04x}");
                assert_eq!((exact_f16_bits(value), f32_to_f16(value)), (bits, bits));
            }
        }
    }

    #[test]
    fn every_bfloat16_becomes_a_binary16() {
        for bits in 0..=u16::MAX {
            let value = bf16::from_bits(bits);
            let expected =
                if value.is_nan() { bits & 0x8000 | 0x7E00 } else { f16::from_f32(value.to_f32()).to_bits() };
            assert_eq!(bf16_to_f16(bits), expected, "{bits:04x}");
        }
    }

    #[test]
    fn nans_are_numpys() {
        for (bits, expected) in
            [(0x7F80_0001, 0x7C01), (0x7FA0_0000, 0x7D00), (0xFFC0_0000, 0xFE00), (0xFFFF_FFFF, 0xFFFF)]
        {
            assert_eq!(f32_to_f16(f32::from_bits(bits)), expected);
        }
        assert_eq!(f32_to_bf16(f32::from_bits(0xFF80_0001)), 0xFFC0);
        for (bits, expected) in [
            (0x7FF0_0000_0000_0001, 0x7C01),
            (0xFFF8_0000_0000_0000, 0xFE00),
            (0x7FF4_0000_0000_0000, 0x7D00),
            (0x7FFA_BCDE_F000_0000, 0x7EAF),
        ] {
            assert_eq!(f64_to_f16(f64::from_bits(bits)), expected);
        }
        assert_eq!(store_f32(f32::from_bits(0xFF81_FFFF)), 0xFF81);
    }

    #[test]
    fn shards_round_up_to_the_largest_bfloat16_and_cut_beyond() {
        assert_eq!(store_f32(1.0 + f32::EPSILON), 0x3F80);
        assert_eq!(store_f32(f32::from_bits(0x7F7E_FFFF)), 0x7F7F);
        assert_eq!(store_f32(f32::from_bits(0x7F7F_FFFF)), 0x7F7F);
        assert_eq!(store_f32(f32::NEG_INFINITY), 0xFF80);
    }

    proptest! {
        #[test]
        fn rounding_is_that_of_the_half_crate(bits: u32) {
            let value = f32::from_bits(bits);
            prop_assume!(!value.is_nan());
            prop_assert_eq!(f32_to_f16(value), f16::from_f32(value).to_bits());
            prop_assert_eq!(f32_to_bf16(value), bf16::from_f32(value).to_bits());
        }

        #[test]
        fn binary64_is_rounded_once(bits: u16, step in -2i64..=2, halves in 0u32..2) {
            // Near the values of binary16 and the middles between them, where rounding twice would show.
            let value = f64::from(f16_to_f32(bits));
            prop_assume!(value.is_finite());
            let middle = value * (1.0 + f64::from(halves) / 2048.0);
            let value = f64::from_bits((middle.to_bits() as i64 + step).max(0) as u64);
            prop_assume!(!value.is_nan());
            prop_assert_eq!(f64_to_f16(value), f16::from_f64(value).to_bits());
        }

        #[test]
        fn rounding_near_binary16s_values(bits: u16, offset in -9000i32..9000) {
            let value = f32::from_bits((f16_to_f32(bits).to_bits() as i32).wrapping_add(offset) as u32);
            prop_assume!(!value.is_nan());
            prop_assert_eq!(f32_to_f16(value), f16::from_f32(value).to_bits());
        }
    }
}
