// csr_matmul for one instruction set: its stages, and the gradient of the values.

#include "cpu/csr_matmul/gather.inl"
#include "cpu/csr_matmul/multiply.inl"
#include "cpu/csr_matmul/strips.inl"

// grad_values of rows [begin, end): each the dot product of a line of grad and one of x, both of strips of as
// many rows. A square of dot products is summed up at once.
template <typename T>
void csr_dot_rows(const CsrValuesGradArgs<T>& args, int64_t lines, const T* grad, const T* x,
                  CsrRowRange range) {
  constexpr int kWidth = Vec<T>::kWidth;
  const int64_t wide = lines * kCsrLanes;
  for (int64_t row = range.begin; row < range.end; ++row) {
    const T* const own = grad + row * wide;
    for (int64_t p = args.crow_indices[row]; p < args.crow_indices[row + 1]; p += kWidth) {
      const int64_t count = std::min<int64_t>(kWidth, args.crow_indices[row + 1] - p);
      Vec<T> sum[kWidth];
      for (int i = 0; i < kWidth; ++i) {
        sum[i] = Vec<T>::broadcast(T(0));
        const T* const line = x + args.col_indices[p + (i < count ? i : 0)] * wide;
        for (int64_t lane = 0; lane < wide; lane += kWidth) {
          sum[i] = fma(Vec<T>::load(own + lane), Vec<T>::load(line + lane), sum[i]);
        }
      }
      transpose(sum);
      Vec<T> total = Vec<T>::load_n(args.grad_values + p, count);
      for (int i = 0; i < kWidth; ++i) total = total + sum[i];
      total.store_n(args.grad_values + p, count);
    }
  }
}

template <typename T>
CsrStages<T> csr_stages() {
  return {&csr_fill_strip<T>, &csr_any_tile<T>, &csr_empty_tile<T>, &csr_gather_rows<T>, &csr_dot_rows<T>};
}
