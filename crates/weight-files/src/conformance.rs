//! One checkpoint in every format: the same tensors, the same values, and no panic when it is damaged.
//!
//! The files come from `uv run scripts/generate_weight_files.py`.

use std::collections::BTreeMap;
use std::fs;
use std::num::NonZeroU64;
use std::path::Path;
use std::thread;

use counter_rng::{Key, Words};
use safetensors::SafeTensors;

use crate::testing::{fixture, try_all};
use crate::{Checkpoint, Error, TensorFault};

/// What is listed, in the order of listing.
const TENSORS: [(&str, &str, &[usize]); 14] = [
    ("f8.e4m3", "F8_E4M3", &[16, 16]),
    ("f8.e4m3fnuz", "F8_E4M3FNUZ", &[16, 16]),
    ("f8.e5m2", "F8_E5M2", &[16, 16]),
    ("f8.e5m2fnuz", "F8_E5M2FNUZ", &[16, 16]),
    ("h.2.attn.c_attn.weight", "F32", &[4, 6]),
    ("h.2.attn.mask", "BOOL", &[2, 2]),
    ("h.2.conv.weight", "F64", &[2, 3, 4]),
    ("h.10.attn.c_attn.weight", "F16", &[3, 5]),
    ("h.10.attn.c_proj.weight", "BF16", &[5, 3]),
    ("h.10.ln_1.bias", "F32", &[0, 3]),
    ("h.10.ln_1.weight", "F16", &[6]),
    ("scale", "F32", &[]),
    ("steps", "I64", &[3]),
    ("wte.weight", "F32", &[7, 5]),
];

/// Files with all of [`TENSORS`], but for names with these beginnings.
const FILES: [(&str, &[&str]); 13] = [
    ("model.safetensors", &[]),
    ("sharded", &[]),
    ("sharded/model.safetensors.index.json", &[]),
    ("model.pt", &[]),
    ("protocol4.pt", &[]),
    ("legacy.pt", &[]),
    ("nested.pt", &[]),
    ("sharded-bin", &[]),
    ("raw.onnx", &[]),
    ("typed.onnx", &[]),
    ("external.onnx", &[]),
    ("model.npz", &["f8", "h.10.attn.c_proj"]),
    ("deflated.npz", &["f8", "h.10.attn.c_proj"]),
];

fn single_precision(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks().0.iter().map(|&it| f32::from_le_bytes(it)).collect()
}

/// Names and values of a safetensors file in single precision, read without this crate.
fn reference(name: &str) -> BTreeMap<String, Vec<f32>> {
    let bytes = fs::read(fixture(name)).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    file.iter().map(|(name, view)| (name.to_owned(), single_precision(view.data()))).collect()
}

/// Bits, with one not-a-number for all.
fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|it| if it.is_nan() { f32::NAN.to_bits() } else { it.to_bits() }).collect()
}

#[test]
fn every_format_lists_and_reads_the_same() {
    let expected = reference("expected.safetensors");
    for (file, absent) in FILES {
        let mut checkpoint = Checkpoint::open(&fixture(file)).unwrap();
        let prefix = if file == "nested.pt" { "model." } else { "" };
        let listed = checkpoint.tensors().iter();
        let listed: Vec<_> =
            listed.map(|it| (it.name.clone(), it.dtype.to_string(), it.shape.clone())).collect();
        let is_there = |name: &str| !absent.iter().any(|it| name.starts_with(it));
        let there = TENSORS.iter().filter(|(name, ..)| is_there(name));
        let there: Vec<_> = there
            .map(|&(name, dtype, shape)| {
                (format!("{prefix}{name}"), dtype.to_owned(), shape.to_vec())
            })
            .collect();
        assert_eq!(listed, there, "{file}");

        let mut values = vec![7.0];
        for (index, (name, dtype, shape)) in listed.iter().enumerate() {
            let read = checkpoint.read(index, &mut values);
            let Some(expected) = expected.get(&name[prefix.len()..]) else {
                let Err(Error::Tensor { fault, .. }) = read else { panic!("{file} {name}") };
                assert!(matches!(fault, TensorFault::NotRead { dtype: it, .. } if it == *dtype));
                continue;
            };
            read.unwrap_or_else(|error| panic!("{file}: {error}"));
            assert_eq!(bits(&values), bits(expected), "{file} {name}");
            assert_eq!(values.len(), shape.iter().product::<usize>(), "{file} {name}");
        }
    }
}

#[test]
fn elements_come_in_their_own_type_too() {
    let mut bytes = Vec::new();
    let mut of = |file: &str| {
        let mut checkpoint = Checkpoint::open(&fixture(file)).unwrap();
        let index = checkpoint.tensors().iter().position(|it| it.name == "h.10.ln_1.weight");
        checkpoint.read_bytes(index.unwrap(), &mut bytes).unwrap();
        bytes.clone()
    };
    // 0, -0, inf, -inf, nan, 2^-24 in half precision
    let expected = [0, 0, 0, 0x80, 0, 0x7c, 0, 0xfc, 0, 0x7e, 1, 0];
    for file in
        ["model.safetensors", "model.pt", "legacy.pt", "raw.onnx", "typed.onnx", "model.npz"]
    {
        assert_eq!(of(file), expected, "{file}");
    }
}

#[test]
fn a_part_is_read_alone_where_the_file_has_it_in_one_piece() {
    let expected = reference("expected.safetensors");
    for (file, parts) in [
        ("model.safetensors", true),
        ("model.pt", true),
        ("legacy.pt", true),
        ("external.onnx", true),
        ("raw.onnx", true),
        ("typed.onnx", false),
        ("model.npz", false),
        ("deflated.npz", false),
    ] {
        let mut checkpoint = Checkpoint::open(&fixture(file)).unwrap();
        let mut values = Vec::new();
        for name in ["h.2.conv.weight", "h.10.attn.c_attn.weight"] {
            let index = checkpoint.tensors().iter().position(|it| it.name == name).unwrap();
            assert_eq!(checkpoint.reads_parts(index), parts, "{file}");
            let all = &expected[name];
            for part in [0..all.len(), 3..7, 0..1, all.len() - 2..all.len(), 4..4] {
                checkpoint.read_part(index, part.clone(), &mut values).unwrap();
                assert_eq!(values, all[part], "{file} {name}");
            }
        }
    }
    for (file, parts) in [("c.npy", true), ("fortran.npy", false), ("big.npy", true)] {
        let mut checkpoint = Checkpoint::open(&fixture(file)).unwrap();
        assert_eq!(checkpoint.reads_parts(0), parts, "{file}");
        let mut values = Vec::new();
        checkpoint.read_part(0, 5..9, &mut values).unwrap();
        assert_eq!(values, expected["h.2.attn.c_attn.weight"][5..9], "{file}");
    }
    // A view with strides has its elements all over its storage.
    let mut views = Checkpoint::open(&fixture("views.pt")).unwrap();
    let index = views.tensors().iter().position(|it| it.name == "transposed").unwrap();
    assert!(!views.reads_parts(index));
    let (mut all, mut part) = (Vec::new(), Vec::new());
    views.read(index, &mut all).unwrap();
    views.read_part(index, 7..11, &mut part).unwrap();
    assert_eq!(part, all[7..11]);
}

#[test]
fn elements_that_are_not_read_come_as_bytes() {
    for file in ["model.safetensors", "model.pt", "legacy.pt", "model.npz"] {
        let mut checkpoint = Checkpoint::open(&fixture(file)).unwrap();
        let mut bytes = Vec::new();
        let mut of = |name: &str| {
            let index = checkpoint.tensors().iter().position(|it| it.name == name).unwrap();
            checkpoint.read_bytes(index, &mut bytes).unwrap();
            assert_eq!(checkpoint.tensors()[index].bytes(), Some(bytes.len()));
            bytes.clone()
        };
        assert_eq!(of("h.2.attn.mask"), [1, 0, 1, 1], "{file}");
        assert_eq!(of("steps"), [1_i64, -2, 3].map(i64::to_le_bytes).concat(), "{file}");
    }
}

#[test]
fn the_order_of_a_file_is_that_of_its_elements() {
    let checkpoint = Checkpoint::open(&fixture("sharded")).unwrap();
    for file in 0..2 {
        let numbers = checkpoint.tensors_of(file);
        let names: Vec<_> = numbers.iter().map(|&it| &*checkpoint.tensors()[it].name).collect();
        let bytes = fs::read(checkpoint.files().nth(file).unwrap()).unwrap();
        let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
        assert_eq!(names, header.offset_keys());
    }
    assert!(checkpoint.tensors_of(2).is_empty());
    assert!(checkpoint.index().unwrap().ends_with("sharded/model.safetensors.index.json"));
    assert_eq!(Checkpoint::open(&fixture("model.safetensors")).unwrap().index(), None);
}

#[test]
fn kinds_of_tensors_that_are_not_read_stand_beside_those_that_are() {
    let mut checkpoint = Checkpoint::open(&fixture("kinds.pt")).unwrap();
    let listed = checkpoint.tensors().iter();
    let listed: Vec<_> = listed
        .map(|it| (&*it.name, it.dtype.to_string(), &*it.shape, it.dtype.why_not_read()))
        .collect();
    let because = |dtype: &str| (dtype.to_owned(), crate::Dtype::other(dtype).why_not_read());
    let [complex, quantized, sparse] = ["C64", "QUANTIZED", "SPARSE"].map(because);
    assert_eq!(
        listed,
        [
            ("complex", complex.0, &[4, 6][..], complex.1),
            ("quantized", quantized.0, &[4, 6], quantized.1),
            ("sparse", sparse.0, &[4, 6], sparse.1),
            ("weight", "F32".to_owned(), &[4, 6], None),
        ]
    );
    let mut values = Vec::new();
    checkpoint.read(3, &mut values).unwrap();
    assert_eq!(values, reference("expected.safetensors")["h.2.attn.c_attn.weight"]);
    for index in 0..3 {
        let read = checkpoint.read(index, &mut values);
        assert!(matches!(read, Err(Error::Tensor { fault: TensorFault::NotRead { .. }, .. })));
    }
}

#[test]
fn a_matrix_in_three_layouts() {
    let expected = &reference("expected.safetensors")["h.2.attn.c_attn.weight"];
    for (file, name) in [("c.npy", "c"), ("fortran.npy", "fortran"), ("big.npy", "big")] {
        let mut checkpoint = Checkpoint::open(&fixture(file)).unwrap();
        assert_eq!(checkpoint.tensors()[0].name, name);
        assert_eq!(checkpoint.tensors()[0].shape, [4, 6]);
        let mut values = Vec::new();
        checkpoint.read(0, &mut values).unwrap();
        assert_eq!(&values, expected, "{file}");
    }
}

#[test]
fn views_of_one_storage() {
    let matrix = &reference("expected.safetensors")["h.2.attn.c_attn.weight"];
    let at = |row: usize, column: usize| matrix[6 * row + column];
    let grid = |rows: &[usize], columns: &[usize]| -> Vec<f32> {
        rows.iter().flat_map(|&row| columns.iter().map(move |&column| at(row, column))).collect()
    };
    let transposed = (0..6).flat_map(|column| (0..4).map(move |row| at(row, column))).collect();
    let all = [0, 1, 2, 3, 4, 5];
    let expected = [
        ("list.0", vec![6], grid(&[0], &all)),
        ("list.1.last", vec![6], grid(&[3], &all)),
        ("parameter", vec![4, 6], matrix.clone()),
        ("repeated", vec![3, 6], grid(&[0, 0, 0], &all)),
        ("row", vec![6], grid(&[2], &all)),
        ("same", vec![4, 6], matrix.clone()),
        ("sliced", vec![3, 3], grid(&[1, 2, 3], &[1, 3, 5])),
        ("transposed", vec![6, 4], transposed),
        ("whole", vec![4, 6], matrix.clone()),
    ];
    let mut checkpoint = Checkpoint::open(&fixture("views.pt")).unwrap();
    let mut values = Vec::new();
    assert_eq!(checkpoint.tensors().len(), expected.len());
    for (index, (name, shape, expected)) in expected.iter().enumerate() {
        checkpoint.read(index, &mut values).unwrap();
        let tensor = &checkpoint.tensors()[index];
        assert_eq!((&*tensor.name, &tensor.shape, &values), (*name, shape, expected));
    }
}

#[test]
fn a_whole_module_is_its_state_dict() {
    let [mut module, mut state] =
        ["module.pt", "module.safetensors"].map(|file| Checkpoint::open(&fixture(file)).unwrap());
    assert_eq!(module.tensors(), state.tensors());
    let (mut a, mut b) = (Vec::new(), Vec::new());
    for index in 0..state.tensors().len() {
        let read = (module.read(index, &mut a).is_ok(), state.read(index, &mut b).is_ok());
        assert!(read.0 == read.1 && a == b, "{}", state.tensors()[index].name);
    }
}

/// Cuts a file, lets it grow, and overwrites a few bytes, often by extremes.
fn damage(good: &[u8], words: &mut Words) -> Vec<u8> {
    let mut below = |end: usize| {
        let end = NonZeroU64::new(end as u64).unwrap();
        usize::try_from(words.below(end)).unwrap()
    };
    let mut bad = good.to_vec();
    match below(4) {
        0 => bad.truncate(below(good.len())),
        1 => bad.extend_from_slice(&good[..below(good.len())]),
        _ => {}
    }
    for _ in 0..below(4).min(bad.len()) {
        let at = below(bad.len());
        bad[at] = [0, 1, 0x7f, 0x80, 0xff, good[at % good.len()] ^ 1 << below(8)][below(6)];
    }
    bad
}

/// One damaged file after another, `ROUNDS` of them.
fn read_damaged(file: &str, folder: &Path, key: Key) {
    const ROUNDS: u64 = 250;
    let good = fs::read(fixture(file)).unwrap();
    let path = folder.join(fixture(file).file_name().unwrap());
    for round in 0..ROUNDS {
        fs::write(&path, damage(&good, &mut key.index(round).words(0))).unwrap();
        if let Err(error) = try_all(&path) {
            assert!(!error.to_string().is_empty(), "{file}, round {round}");
        }
    }
}

#[test]
fn damaged_files_are_errors_or_values_and_never_a_panic() {
    let key = Key::from_seed(20_260_729).derive("damage");
    let folder = &tempfile::tempdir().unwrap();
    let names = FILES.iter().map(|(file, _)| *file).filter(|file| fixture(file).is_file());
    let others = ["views.pt", "module.pt", "kinds.pt", "fortran.npy"];
    // Threads, as most of the time goes into creating files. A panic in one is a panic here.
    thread::scope(|scope| {
        for file in names.chain(others) {
            scope.spawn(move || read_damaged(file, folder.path(), key.derive(file)));
        }
    });
}

#[test]
fn every_beginning_of_a_file_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    for file in ["model.safetensors", "legacy.pt", "model.pt", "raw.onnx", "model.npz", "c.npy"] {
        let good = fs::read(fixture(file)).unwrap();
        let path = folder.path().join(file);
        for length in (0..good.len()).step_by(23) {
            fs::write(&path, &good[..length]).unwrap();
            assert!(try_all(&path).is_err(), "{length} bytes of {file}");
        }
    }
}
