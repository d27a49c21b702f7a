//! Group quantization: groups of weights along the input dimension share a scale.
//!
//! With `m` the largest multiple and `D` the model's type: `scale = D(max |w| / m)`, `code = clamp(round(w / scale +
//! m), 0, 2m)`, and when `D` is binary16 every step is rounded to it. Never a reciprocal, never a fused step.

use crate::cast::{Source, bf16_to_f32, exact_f16_bits, f32_to_bf16, round_to_f16, store_f32};

/// The arithmetic of a model type.
pub(crate) trait Arithmetic {
    /// Whether codes are made with the scale before it was rounded, where the output is transposed.
    const EXACT_IF_TRANSPOSED: bool = false;
    /// An element of a checkpoint, cast to the type.
    fn value<S: Source>(element: S) -> f32;
    /// The lowest finite value, where the reference starts looking for the largest.
    const LOWEST: f32;
    /// Rounds a scale to the type.
    fn round_scale(scale: f32) -> f32;
    /// Rounds a quotient or a sum to the type, as far as it matters for codes.
    fn round_step(value: f32) -> f32;
    /// The stored bits of a rounded scale; `largest` is what it was made of.
    fn stored_scale(scale: f32, largest: f32) -> u16;
}

/// binary16.
pub(crate) struct Half;
/// bfloat16: codes are computed in binary32.
pub(crate) struct Brain;
/// binary32: scales are stored as bfloat16.
pub(crate) struct Single;

impl Arithmetic for Half {
    const LOWEST: f32 = -65504.0;
    #[inline(always)]
    fn value<S: Source>(element: S) -> f32 {
        element.to_f16_value()
    }
    #[inline(always)]
    fn round_scale(scale: f32) -> f32 {
        round_to_f16(scale)
    }
    /// Keeps eleven significant bits. Neither binary16's subnormals nor its overflow reach a code: a quotient below
    /// 2^-14 leaves `m` as it is, one beyond 65504 is clamped.
    #[inline(always)]
    fn round_step(value: f32) -> f32 {
        let bits = value.to_bits();
        f32::from_bits(bits.wrapping_add(0x0FFF + (bits >> 13 & 1)) & !0x1FFF)
    }
    #[inline(always)]
    fn stored_scale(scale: f32, largest: f32) -> u16 {
        let nan = 0x7E00 | (largest.to_bits() >> 13 & 0x1FF) as u16;
        if largest.is_nan() { nan } else { exact_f16_bits(scale) }
    }
}

impl Arithmetic for Brain {
    const EXACT_IF_TRANSPOSED: bool = true;
    const LOWEST: f32 = f32::from_bits(0xFF7F_0000);
    #[inline(always)]
    fn value<S: Source>(element: S) -> f32 {
        bf16_to_f32(element.to_bf16())
    }
    #[inline(always)]
    fn round_scale(scale: f32) -> f32 {
        f32::from_bits(u32::from(f32_to_bf16(scale)) << 16)
    }
    #[inline(always)]
    fn round_step(value: f32) -> f32 {
        value
    }
    #[inline(always)]
    fn stored_scale(scale: f32, largest: f32) -> u16 {
        let nan = (largest.to_bits() >> 16 & 0x7FFF | 0x40) as u16;
        if largest.is_nan() { nan } else { (scale.to_bits() >> 16) as u16 }
    }
}

impl Arithmetic for Single {
    const LOWEST: f32 = f32::MIN;
    #[inline(always)]
    fn value<S: Source>(element: S) -> f32 {
        element.to_f32()
    }
    #[inline(always)]
    fn round_scale(scale: f32) -> f32 {
        scale
    }
    #[inline(always)]
    fn round_step(value: f32) -> f32 {
        value
    }
    #[inline(always)]
    fn stored_scale(scale: f32, largest: f32) -> u16 {
        let nan = f32::from_bits(largest.to_bits() & 0x7FFF_FFFF | 0x0040_0000);
        store_f32(if largest.is_nan() { nan } else { scale })
    }
}

/// The arithmetic for a model type.
macro_rules! with_arithmetic {
    ($dtype:expr, $arithmetic:ident => $body:expr) => {
        match $dtype {
            Dtype::F16 => {
                type $arithmetic = crate::group::Half;
                $body
            }
            Dtype::Bf16 => {
                type $arithmetic = crate::group::Brain;
                $body
            }
            _ => {
                type $arithmetic = crate::group::Single;
                $body
            }
        }
    };
}
pub(crate) use with_arithmetic;

/// Quantizes one group of `SIZE` weights, of which the first `count` exist (the others are zero) and are values of
/// the model type. Gives the four words of codes and the stored scale. `exact_scale` divides by the scale before it
/// was rounded, which the reference does where it transposes bfloat16.
#[inline(always)]
pub(crate) fn quantize<A: Arithmetic, const BITS: u32, const SIZE: usize>(
    weights: &[f32; SIZE],
    count: usize,
    exact_scale: bool,
) -> ([u32; 4], u16) {
    let maximum = ((1u32 << (BITS - 1)) - 1) as f32;
    let largest = weights.iter().fold(0, |largest: u32, weight| largest.max(weight.to_bits() & 0x7FFF_FFFF));
    let largest = f32::from_bits(largest);
    let largest =
        if largest.is_nan() { largest_with_nan(&weights[..count], SIZE, A::LOWEST) } else { largest };
    let unrounded = largest / maximum;
    let rounded = A::round_scale(unrounded);
    let scale = if exact_scale { unrounded } else { rounded };

    let mut codes = [0u32; SIZE];
    for (code, weight) in codes.iter_mut().zip(weights) {
        let shifted = A::round_step(A::round_step(weight / scale) + maximum);
        // In this order the first comparison turns NaN into 0. Clamping before rounding is the same, as both bounds
        // are whole; adding 2^23 rounds to the nearest whole number, ties to even, and leaves it in the lowest bits.
        let above = if shifted > 0.0 { shifted } else { 0.0 };
        let within = if above < 2.0 * maximum { above } else { 2.0 * maximum };
        *code = (within + 8_388_608.0).to_bits() & 0xF;
    }
    if count < SIZE {
        codes[count..].fill(0);
    }
    let mut words = [0; 4];
    for (word, codes) in words.iter_mut().zip(codes.chunks_exact(SIZE / 4)) {
        *word = codes.iter().enumerate().fold(0, |word, (index, code)| word | code << (BITS * index as u32));
    }
    (words, A::stored_scale(rounded, largest))
}

/// The largest absolute value as the reference finds it: an ordered comparison, so that a NaN forgets what came
/// before it, and what comes after forgets the NaN.
#[cold]
fn largest_with_nan(weights: &[f32], size: usize, lowest: f32) -> f32 {
    let absent = std::iter::repeat_n(lowest, size - weights.len());
    weights
        .iter()
        .map(|weight| weight.abs())
        .chain(absent)
        .fold(lowest, |largest, weight| if largest > weight { largest } else { weight })
}

#[cfg(test)]
mod tests {
    use super::*;
    use half::f16;
    use proptest::prelude::*;

    /// The rule, spelled out for binary16, one step at a time. Missing weights of a short group count as the lowest.
    fn plainly(weights: &[f16], bits: u32, size: usize) -> (Vec<u32>, u16) {
        let m = f16::from_f32(((1 << (bits - 1)) - 1) as f32);
        let mut largest = f16::MIN;
        for slot in 0..size {
            let weight =
                weights.get(slot).map_or(f16::MIN, |weight| f16::from_bits(weight.to_bits() & 0x7FFF));
            largest = if largest > weight { largest } else { weight };
        }
        let scale = f16::from_f32(largest.to_f32() / m.to_f32());
        let codes = weights.iter().map(|weight| {
            let quotient = f16::from_f32(weight.to_f32() / scale.to_f32());
            let sum = f16::from_f32(quotient.to_f32() + m.to_f32());
            let rounded = sum.to_f32().round_ties_even();
            let low = if rounded > 0.0 { rounded } else { 0.0 };
            (if low < 2.0 * m.to_f32() { low } else { 2.0 * m.to_f32() }) as u32
        });
        (codes.collect(), scale.to_bits())
    }

    fn unpack(words: [u32; 4], bits: u32, size: usize) -> Vec<u32> {
        let per = size / 4;
        (0..size)
            .map(|index| words[index / per] >> (bits * (index % per) as u32) & ((1 << bits) - 1))
            .collect()
    }

    fn check<const BITS: u32, const SIZE: usize>(bits: &[u16]) {
        let weights: Vec<f16> = bits.iter().map(|&bits| f16::from_bits(bits)).collect();
        let mut values = [0.0; SIZE];
        for (value, weight) in values.iter_mut().zip(&weights) {
            *value = crate::cast::f16_to_f32(weight.to_bits());
        }
        let (words, scale) = quantize::<Half, BITS, SIZE>(&values, weights.len(), false);
        let (codes, expected) = plainly(&weights, BITS, SIZE);
        if f16::from_bits(expected).is_nan() {
            assert!(f16::from_bits(scale).is_nan());
        } else {
            assert_eq!(scale, expected);
        }
        let unpacked = unpack(words, BITS, SIZE);
        assert_eq!(unpacked[..weights.len()], codes[..]);
        assert!(unpacked[weights.len()..].iter().all(|&code| code == 0));
    }

    #[test]
    fn a_group_of_zeros_has_codes_of_zero() {
        assert_eq!(quantize::<Half, 4, 32>(&[-0.0; 32], 32, false), ([0; 4], 0));
    }

    #[test]
    fn one_has_the_scale_of_a_seventh() {
        let mut weights = [0.0; 32];
        weights[0] = 1.0;
        let (words, scale) = quantize::<Half, 4, 32>(&weights, 32, false);
        assert_eq!((words[0], words[1], scale), (0x7777_777E, 0x7777_7777, 0x3092));
    }

    #[test]
    fn a_nan_forgets_what_came_before_it() {
        let mut weights = [0.5; 32];
        weights[3] = f32::NAN;
        weights[0] = 100.0;
        let (words, scale) = quantize::<Half, 4, 32>(&weights, 32, false);
        assert_eq!(scale, f16::from_f32(0.5 / 7.0).to_bits());
        assert_eq!(words[0], 0xEEEE_0EEE);
        weights[31] = f32::from_bits(0x7FC0_2000);
        assert_eq!(quantize::<Half, 4, 32>(&weights, 32, false).1, 0x7E01);
    }

    #[test]
    fn a_nan_at_the_end_of_a_short_group_gives_a_negative_scale() {
        let mut weights = [0.0; 32];
        weights[4] = f32::NAN;
        assert_eq!(quantize::<Half, 4, 32>(&weights, 5, false).1, f16::from_f32(-65504.0 / 7.0).to_bits());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn codes_and_scales_follow_the_rule(bits in prop::collection::vec(any::<u16>(), 1..=32)) {
            check::<4, 32>(&bits);
        }

        #[test]
        fn usual_weights_follow_the_rule(weights in prop::collection::vec(-0.2f32..0.2, 32..=32)) {
            check::<4, 32>(&weights.iter().map(|&weight| f16::from_f32(weight).to_bits()).collect::<Vec<_>>());
        }

        #[test]
        fn three_bits_follow_the_rule(weights in prop::collection::vec(-2f32..2.0, 1..=40)) {
            check::<3, 40>(&weights.iter().map(|&weight| f16::from_f32(weight).to_bits()).collect::<Vec<_>>());
        }

        #[test]
        fn tiny_weights_follow_the_rule(bits in prop::collection::vec(0u16..0x40, 1..=32)) {
            check::<4, 32>(&bits);
        }
    }
}
