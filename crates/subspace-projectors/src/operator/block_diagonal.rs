//! $P = \operatorname{diag}(P_1, P_2, \dots)$, followed by rows of zeros.

use crate::{Projector, Shape};

/// Blocks one below and right of the other; each coordinate belongs to one of them.
pub(crate) struct BlockDiagonal {
    blocks: Vec<Box<dyn Projector>>,
    shape: Shape,
}

impl BlockDiagonal {
    /// The rows below the blocks, up to `ambient`, are zero.
    pub(crate) fn new(ambient: usize, blocks: Vec<Box<dyn Projector>>) -> Self {
        let intrinsic = blocks.iter().map(|block| block.shape().intrinsic).sum();
        let rows = blocks.iter().map(|block| block.shape().ambient).sum::<usize>();
        assert!(rows <= ambient, "{rows} rows of blocks in {ambient}");
        Self { blocks, shape: Shape { ambient, intrinsic } }
    }
}

impl Projector for BlockDiagonal {
    fn shape(&self) -> Shape {
        self.shape
    }

    fn apply(&self, mut alpha: &[f32], mut theta: &mut [f32]) {
        self.shape.assert(alpha, theta);
        for block in &self.blocks {
            let Shape { ambient, intrinsic } = block.shape();
            let (columns, rows);
            (columns, alpha) = alpha.split_at(intrinsic);
            (rows, theta) = theta.split_at_mut(ambient);
            block.apply(columns, rows);
        }
        theta.fill(0.0);
    }

    fn apply_t(&self, mut g: &[f32], mut out: &mut [f32]) {
        self.shape.assert(out, g);
        for block in &self.blocks {
            let Shape { ambient, intrinsic } = block.shape();
            let (columns, rows);
            (rows, g) = g.split_at(ambient);
            (columns, out) = out.split_at_mut(intrinsic);
            block.apply_t(rows, columns);
        }
    }
}
