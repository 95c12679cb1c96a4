//! A split as tensors of bytes.
//!
//! docs/formats.md has the tensors; here they are made and taken apart. The codes of a base are found again
//! from its values, which are theirs: $q = \operatorname{round}(b / s) + z$ is exact for 8 bits.

use half::{bf16, f16};
use quantizers::Params;
use safetensors::Dtype;

use super::{LayerRecord, OrthoFileError};
use crate::base::coding::{Layout, codes};
use crate::matrix::{check_finite, numel, transposed};
use crate::{Base, ChannelCoding, CodeWidth, Coding, Csr, Indices, OrthoError, Split, Storage};

/// Names of the tensors of a layer, behind its own.
pub(super) const BASE: &str = "base";
pub(super) const SCALE: &str = "base_scale";
pub(super) const ZERO_POINT: &str = "base_zero_point";
pub(super) const CODING: &str = "base_coding";
pub(super) const VALUES: &str = "ortho.values";
pub(super) const INDICES: &str = "ortho.indices";
pub(super) const POINTERS: &str = "ortho.ptr";

/// One tensor.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Part {
    pub(super) name: &'static str,
    pub(super) dtype: Dtype,
    pub(super) shape: Vec<usize>,
    pub(super) bytes: Vec<u8>,
}

/// Where tensors are taken from.
pub(super) trait Source<'a> {
    /// Type, shape and bytes of a tensor of a layer.
    fn take(&mut self, part: &'static str)
    -> Result<(Dtype, Vec<usize>, &'a [u8]), OrthoFileError>;

    /// Name of the tensor in the file.
    fn name(&self, part: &str) -> String;
}

/// Bytes of a tensor of one of `dtypes` and of `shape`.
fn expect<'a>(
    source: &mut impl Source<'a>,
    part: &'static str,
    dtypes: &[Dtype],
    shape: &[usize],
) -> Result<(Dtype, &'a [u8]), OrthoFileError> {
    let (dtype, found, bytes) = source.take(part)?;
    if dtypes.contains(&dtype) && found == shape {
        return Ok((dtype, bytes));
    }
    let expected: Vec<String> = dtypes.iter().map(|it| format!("{it:?}")).collect();
    Err(OrthoFileError::Tensor {
        name: source.name(part),
        found: format!("{dtype:?} {found:?}"),
        expected: format!("{} {shape:?}", expected.join(" or ")),
    })
}

/// The tensors of a split.
pub(super) fn encode(split: &Split) -> Result<Vec<Part>, OrthoError> {
    let mut parts = encode_base(split)?;
    let outliers = split.outliers();
    let part = |name, dtype, len, bytes| Part { name, dtype, shape: vec![len], bytes };
    let values = outliers.values();
    parts.push(part(VALUES, Dtype::F32, values.len(), numbers(values, Storage::F32)));
    parts.push(match outliers.indices() {
        Indices::U16(it) => {
            let bytes = it.iter().flat_map(|it| it.to_le_bytes()).collect();
            part(INDICES, Dtype::U16, it.len(), bytes)
        }
        Indices::U32(it) => {
            let bytes = it.iter().flat_map(|it| it.to_le_bytes()).collect();
            part(INDICES, Dtype::U32, it.len(), bytes)
        }
    });
    let pointers = outliers.pointers();
    let bytes = pointers.iter().flat_map(|it| it.to_le_bytes()).collect();
    parts.push(part(POINTERS, Dtype::U32, pointers.len(), bytes));
    Ok(parts)
}

fn encode_base(split: &Split) -> Result<Vec<Part>, OrthoError> {
    let base = split.base();
    let [d_in, d_out] = base.shape;
    let part =
        |name, dtype, shape: &[usize], bytes| Part { name, dtype, shape: shape.to_vec(), bytes };
    let zero_points = match base.layout {
        Layout::Stored | Layout::Fp16 => {
            let storage = storage(base.layout, split.storage());
            let bytes = numbers(&base.values, storage);
            return Ok(vec![part(BASE, dtype(storage), &base.shape, bytes)]);
        }
        Layout::Codes { zero_points, .. } => zero_points,
        Layout::Mixed => false,
    };
    let (mut stored, mut scales, mut points) = (Vec::new(), Vec::new(), Vec::new());
    let channels = base.matrix().channels();
    for (values, channel) in channels.chunks_exact(d_in).zip(&base.channels) {
        let (Some(width), Some(params)) = (width(channel.coding), channel.params) else {
            stored.extend(numbers(values, Storage::F16));
            continue;
        };
        let codes = codes(width, zero_points)?;
        stored.extend(pack(width, values.iter().map(|&it| codes.code(it, &params))));
        scales.push(params.scale);
        points.push(params.zero_point);
    }
    let shape = match base.layout {
        Layout::Mixed => vec![stored.len()],
        _ => vec![d_out, stored.len() / d_out],
    };
    let mut parts = vec![
        part(BASE, Dtype::U8, &shape, stored),
        part(SCALE, Dtype::F16, &[scales.len()], numbers(&scales, Storage::F16)),
    ];
    match base.layout {
        Layout::Codes { bits, zero_points: true } => {
            let points = pack(bits, points.into_iter());
            parts.push(part(ZERO_POINT, Dtype::U8, &[points.len()], points));
        }
        Layout::Mixed => {
            let codings: Vec<u8> = base.channels.iter().map(|it| it.coding as u8).collect();
            let pack = |it: &[u8]| it.iter().rev().fold(0, |byte, coding| byte << 2 | coding);
            let codings: Vec<u8> = codings.chunks(4).map(pack).collect();
            parts.push(part(CODING, Dtype::U8, &[codings.len()], codings));
        }
        _ => {}
    }
    Ok(parts)
}

/// The split of a layer. Nothing is allocated that is not of the size of the tensors in the file.
pub(super) fn decode<'a>(
    record: &LayerRecord,
    source: &mut impl Source<'a>,
) -> Result<Split, OrthoFileError> {
    let shape @ [_, d_out] = record.shape;
    let layer = source.name("");
    let layer = layer.trim_end_matches('.');
    let wrong = |source| OrthoFileError::Layer { name: layer.to_owned(), source };
    numel(shape).map_err(wrong)?;
    let base = decode_base(record, source)?;
    let (dtype, entries, indices) = source.take(INDICES)?;
    let indices = match dtype {
        Dtype::U16 => {
            Indices::U16(indices.as_chunks().0.iter().map(|it| u16::from_le_bytes(*it)).collect())
        }
        Dtype::U32 => Indices::U32(words(indices)),
        _ => {
            return Err(OrthoFileError::Tensor {
                name: source.name(INDICES),
                found: format!("{dtype:?} {entries:?}"),
                expected: "U16 or U32 [entries]".to_owned(),
            });
        }
    };
    let (_, values) = expect(source, VALUES, &[Dtype::F32], &[indices.len()])?;
    let values = read_numbers(values, Storage::F32);
    let (_, pointers) = expect(source, POINTERS, &[Dtype::U32], &[d_out + 1])?;
    let outliers = Csr::from_parts(shape, words(pointers), indices, values).map_err(wrong)?;
    Ok(Split::from_parts(record.construction, record.storage, base, outliers))
}

fn decode_base<'a>(
    record: &LayerRecord,
    source: &mut impl Source<'a>,
) -> Result<Base, OrthoFileError> {
    let shape @ [d_in, d_out] = record.shape;
    let layout = record.base;
    let layer = source.name("").trim_end_matches('.').to_owned();
    let wrong = |source| OrthoFileError::Layer { name: layer.clone(), source };
    let row = |it: &Coding| width(*it).map_or(2 * d_in, |width| width.bytes(d_in));
    let (codings, mut stored, mut bytes) = match layout {
        Layout::Stored | Layout::Fp16 => {
            let storage = storage(layout, record.storage);
            let (_, stored) = expect(source, BASE, &[dtype(storage)], &shape)?;
            let values = read_numbers(stored, storage);
            check_finite("base weight", &values).map_err(wrong)?;
            let coding = if layout == Layout::Fp16 { Coding::Fp16 } else { Coding::Stored };
            let channels = vec![ChannelCoding::unclipped(coding); d_out];
            return Ok(Base {
                values,
                shape,
                channels,
                layout,
                bytes: stored.len(),
                outside: None,
            });
        }
        Layout::Codes { bits, .. } => {
            let (_, stored) = expect(source, BASE, &[Dtype::U8], &[d_out, bits.bytes(d_in)])?;
            (vec![bits.coding(); d_out], stored, stored.len())
        }
        Layout::Mixed => {
            let (_, found) = expect(source, CODING, &[Dtype::U8], &[d_out.div_ceil(4)])?;
            let codings = read_codings(found, d_out, &source.name(CODING))?;
            let total = codings.iter().map(row).sum();
            let (_, stored) = expect(source, BASE, &[Dtype::U8], &[total])?;
            (codings, stored, stored.len() + found.len())
        }
    };
    let zero_points = matches!(layout, Layout::Codes { zero_points: true, .. });
    let coded = codings.iter().filter(|&&it| width(it).is_some()).count();
    let (_, scales) = expect(source, SCALE, &[Dtype::F16], &[coded])?;
    bytes += scales.len();
    let scales = read_numbers(scales, Storage::F16);
    let is_scale = |it: &f32| it.is_finite() && *it > 0.0;
    if let Some(index) = scales.iter().position(|it| !is_scale(it)) {
        let (name, value) = (source.name(SCALE), scales[index].into());
        let expected = "a finite number above 0".to_owned();
        return Err(OrthoFileError::Value { name, index, value, expected });
    }
    let points = match layout {
        Layout::Codes { bits: width, zero_points: true } => {
            let (_, stored) = expect(source, ZERO_POINT, &[Dtype::U8], &[width.bytes(d_out)])?;
            bytes += stored.len();
            unpack(width, stored, d_out, true)
        }
        _ => vec![0; coded],
    };
    let mut params = scales.into_iter().zip(points);
    let (mut values, mut channels) = (Vec::with_capacity(d_in * d_out), Vec::new());
    for coding in &codings {
        let (row, rest) = stored.split_at(row(coding));
        stored = rest;
        let (Some(width), Some((scale, zero_point))) =
            (width(*coding), width(*coding).and_then(|_| params.next()))
        else {
            values.extend(read_numbers(row, Storage::F16));
            channels.push(ChannelCoding::unclipped(Coding::Fp16));
            continue;
        };
        let grid = codes(width, zero_points).map_err(wrong)?;
        let params = Params { scale, zero_point, offset: 0.0 };
        let (first, last) = grid.ends();
        for (index, code) in unpack(width, row, d_in, zero_points).into_iter().enumerate() {
            if !(first..=last).contains(&code) {
                let expected = format!("a code from {first} to {last}");
                let (name, value) = (source.name(BASE), code.into());
                return Err(OrthoFileError::Value { name, index, value, expected });
            }
            values.push(grid.value(code, &params));
        }
        channels.push(ChannelCoding::coded(width, &grid, params));
    }
    check_finite("base weight", &values).map_err(wrong)?;
    let values = transposed(&values, [d_out, d_in]);
    Ok(Base { values, shape, channels, layout, bytes, outside: None })
}

fn width(coding: Coding) -> Option<CodeWidth> {
    match coding {
        Coding::Int4 => Some(CodeWidth::Four),
        Coding::Int8 => Some(CodeWidth::Eight),
        Coding::Fp16 | Coding::Stored => None,
    }
}

/// The type of a base of numbers.
fn storage(layout: Layout, stored: Storage) -> Storage {
    if layout == Layout::Fp16 { Storage::F16 } else { stored }
}

fn dtype(storage: Storage) -> Dtype {
    match storage {
        Storage::F16 => Dtype::F16,
        Storage::Bf16 => Dtype::BF16,
        Storage::F32 => Dtype::F32,
    }
}

/// Values that are of the type.
fn numbers(values: &[f32], storage: Storage) -> Vec<u8> {
    match storage {
        Storage::F16 => values.iter().flat_map(|&it| f16::from_f32(it).to_le_bytes()).collect(),
        Storage::Bf16 => values.iter().flat_map(|&it| bf16::from_f32(it).to_le_bytes()).collect(),
        Storage::F32 => values.iter().flat_map(|it| it.to_le_bytes()).collect(),
    }
}

fn read_numbers(bytes: &[u8], storage: Storage) -> Vec<f32> {
    let halves = || bytes.as_chunks().0.iter();
    match storage {
        Storage::F16 => halves().map(|it| f16::from_le_bytes(*it).to_f32()).collect(),
        Storage::Bf16 => halves().map(|it| bf16::from_le_bytes(*it).to_f32()).collect(),
        Storage::F32 => bytes.as_chunks().0.iter().map(|it| f32::from_le_bytes(*it)).collect(),
    }
}

fn words(bytes: &[u8]) -> Vec<u32> {
    bytes.as_chunks().0.iter().map(|it| u32::from_le_bytes(*it)).collect()
}

/// Two's complement; of 4 bits two in a byte, the first in its lower half.
fn pack(width: CodeWidth, codes: impl Iterator<Item = i32>) -> Vec<u8> {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "8 bits or less")]
    let codes: Vec<u8> = codes.map(|it| it as u8).collect();
    match width {
        CodeWidth::Eight => codes,
        CodeWidth::Four => {
            codes.chunks(2).map(|it| (it[0] & 15) | it.get(1).map_or(0, |it| it << 4)).collect()
        }
    }
}

/// The first `count` codes, of 0 and above or of both signs.
fn unpack(width: CodeWidth, bytes: &[u8], count: usize, is_unsigned: bool) -> Vec<i32> {
    let code = |byte: u8, bits: u32| match (is_unsigned, bits) {
        (true, _) => i32::from(byte),
        (false, 8) => i32::from(byte.cast_signed()),
        (false, _) => i32::from((byte << 4).cast_signed() >> 4),
    };
    match width {
        CodeWidth::Eight => bytes.iter().map(|&it| code(it, 8)).collect(),
        CodeWidth::Four => {
            let codes = bytes.iter().flat_map(|it| [it & 15, it >> 4]).map(|it| code(it, 4));
            codes.take(count).collect()
        }
    }
}

/// Two bits for each output channel, the first in the lowest of a byte.
fn read_codings(bytes: &[u8], d_out: usize, name: &str) -> Result<Vec<Coding>, OrthoFileError> {
    let codings = bytes.iter().flat_map(|it| [0, 2, 4, 6].map(|shift| it >> shift & 3));
    let coding = |(index, coding): (usize, u8)| match coding {
        0 => Ok(Coding::Int4),
        1 => Ok(Coding::Int8),
        2 => Ok(Coding::Fp16),
        _ => {
            let (name, value) = (name.to_owned(), coding.into());
            let expected = "0 for int4, 1 for int8 or 2 for fp16".to_owned();
            Err(OrthoFileError::Value { name, index, value, expected })
        }
    };
    codings.take(d_out).enumerate().map(coding).collect()
}
