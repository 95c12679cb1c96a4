//! exploratory
use counter_rng::Key;
use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::evd::{ComputeEigenvectors, self_adjoint_evd, self_adjoint_evd_scratch};
use faer::linalg::matmul::matmul;
use faer::linalg::matmul::triangular::{self, BlockStructure};
use faer::{Accum, Mat, MatRef, Par};
use std::time::Instant;

fn best<T>(mut f: impl FnMut() -> T) -> f64 {
    let mut b = f64::MAX;
    for _ in 0..5 {
        let t = Instant::now();
        std::hint::black_box(f());
        b = b.min(t.elapsed().as_secs_f64());
    }
    b * 1e3
}
fn main() {
    for (r, c) in [(768, 768), (768, 2304), (768, 3072), (3072, 768), (1024, 768)] {
        let mut v = vec![0f32; r * c];
        Key::from_seed(1).fill_normal(0, &mut v);
        let m = r.min(c);
        let n = r.max(c);
        let conv = best(|| v.iter().map(|&x| f64::from(x)).collect::<Vec<f64>>());
        let w: Vec<f64> = v.iter().map(|&x| f64::from(x)).collect();
        let a = MatRef::from_row_major_slice(&w, r, c);
        let a = if r >= c { a } else { a.transpose() }; // n x m
        let mut g = Mat::<f64>::zeros(m, m);
        let tri = best(|| {
            triangular::matmul(
                &mut g,
                BlockStructure::TriangularLower,
                Accum::Replace,
                a.transpose(),
                BlockStructure::Rectangular,
                a,
                BlockStructure::Rectangular,
                1.0,
                Par::Seq,
            )
        });
        let full = best(|| matmul(&mut g, Accum::Replace, a.transpose(), a, 1.0, Par::Seq));
        // blocked by hand: chunk of k rows of 256, triangular with Accum::Add
        let blocked = best(|| {
            let kb = 512;
            for k in (0..n).step_by(kb) {
                let b = a.subrows(k, kb.min(n - k));
                triangular::matmul(
                    &mut g,
                    BlockStructure::TriangularLower,
                    if k == 0 { Accum::Replace } else { Accum::Add },
                    b.transpose(),
                    BlockStructure::Rectangular,
                    b,
                    BlockStructure::Rectangular,
                    1.0,
                    Par::Seq,
                );
            }
        });
        // panels of columns
        let panel = |nb: usize, g: &mut Mat<f64>| {
            for j in (0..m).step_by(nb) {
                let w = nb.min(m - j);
                matmul(
                    g.as_mut().submatrix_mut(j, j, m - j, w),
                    Accum::Replace,
                    a.subcols(j, m - j).transpose(),
                    a.subcols(j, w),
                    1.0,
                    Par::Seq,
                );
            }
        };
        let p64 = best(|| panel(64, &mut g));
        let p96 = best(|| panel(96, &mut g));
        let p128 = best(|| panel(128, &mut g));
        let p192 = best(|| panel(192, &mut g));
        let p256 = best(|| panel(256, &mut g));
        let p = Default::default();
        let mut mem = MemBuffer::new(self_adjoint_evd_scratch::<f64>(
            m,
            ComputeEigenvectors::No,
            Par::Seq,
            p,
        ));
        let mut s = faer::diag::Diag::<f64>::zeros(m);
        let evd = best(|| {
            self_adjoint_evd(g.as_ref(), s.as_mut(), None, Par::Seq, MemStack::new(&mut mem), p)
                .unwrap()
        });
        let mut t = g.clone();
        let mut h = Mat::<f64>::zeros(48, m - 1);
        let trid = best(|| {
            t.copy_from(&g);
            faer::linalg::evd::tridiag::tridiag_in_place(
                t.as_mut(),
                h.as_mut(),
                Par::Seq,
                MemStack::new(&mut mem),
                Default::default(),
            )
        });
        let svd = if r == c { best(|| a.svd().is_ok()) } else { 0.0 };
        println!(
            "{r}x{c}: conv {conv:.1} tri {tri:.1} full {full:.1} blocked {blocked:.1} p64 {p64:.1} p96 {p96:.1} p128 {p128:.1} p192 {p192:.1} p256 {p256:.1} evd {evd:.1} trid {trid:.1} svd {svd:.1} gflops tri {:.1}",
            (n * m * m) as f64 / tri / 1e6
        );
    }
}
