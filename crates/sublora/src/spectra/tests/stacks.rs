//! Tensors of several matrices.

use weight_files::Checkpoint;

use super::super::reading::Reading;
use super::*;

/// An array `[count, rows, cols]` in a file of NumPy's, in C's order or in Fortran's.
fn npy(values: &[f32], [count, rows, cols]: [usize; 3], is_fortran: bool) -> Vec<u8> {
    let order = if is_fortran { "True" } else { "False" };
    let header =
        format!("{{'descr': '<f4', 'fortran_order': {order}, 'shape': ({count}, {rows}, {cols})}}");
    let mut bytes = b"\x93NUMPY\x01\0".to_vec();
    bytes.extend(u16::try_from(header.len()).unwrap().to_le_bytes());
    bytes.extend(header.as_bytes());
    // Of the elements in the order of the file: the places in C's order.
    let fortran = |at: usize| (at % count * rows + at / count % rows) * cols + at / (count * rows);
    let place = |at: usize| if is_fortran { fortran(at) } else { at };
    bytes.extend((0..values.len()).flat_map(|at| values[place(at)].to_le_bytes()));
    bytes
}

#[test]
fn a_matrix_of_a_stack_is_read_alone_where_the_file_has_it_in_one_piece() {
    let (shape, values) = ([3, 24, 12], normal(1, 3 * 24 * 12));
    let [c, fortran] = [false, true].map(|is_fortran| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("experts.npy");
        fs::write(&path, npy(&values, shape, is_fortran)).unwrap();
        let file = Checkpoint::open(&path).unwrap();
        let parts = quick().select(file.tensors(), false).into_iter().flatten().flatten();
        let readings = Reading::all(&parts.collect::<Vec<_>>(), &file);
        let parts: Vec<_> = readings.into_iter().map(|it| it.parts.len()).collect();
        (parts, quick().run(&path, None, &()).unwrap())
    });
    assert_eq!((c.0, fortran.0), (vec![1, 1, 1], vec![3]));
    let records = |report: &SpectralReport| -> Vec<_> {
        report.matrices.iter().map(|it| (it.name.clone(), it.record.clone())).collect()
    };
    assert_eq!(records(&c.1), records(&fortran.1));
    let (_folder, alone) = checkpoint(&[("experts[1]", &[24, 12], values[288..576].to_vec())]);
    let alone = quick().run(&alone, None, &()).unwrap();
    assert_eq!(records(&c.1)[1], records(&alone)[0]);
}
