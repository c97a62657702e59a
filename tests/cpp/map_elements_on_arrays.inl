// The loads and stores of cpu/map_elements.inl on whole arrays, ragged ends included.
#include "cpu/map_elements.inl"

template <typename S>
void widen_all(const S* x, int64_t count, float* wide) {
  constexpr int kWidth = Vec<float>::kWidth;
  int64_t i = 0;
  for (; i + kWidth <= count; i += kWidth) load_elements(x + i).store(wide + i);
  load_elements_n(x + i, count - i).store_n(wide + i, count - i);
}

template <typename S>
void narrow_all(const float* x, int64_t count, S* narrow) {
  constexpr int kWidth = Vec<float>::kWidth;
  int64_t i = 0;
  for (; i + kWidth <= count; i += kWidth) store_elements(Vec<float>::load(x + i), narrow + i);
  store_elements_n(Vec<float>::load_n(x + i, count - i), narrow + i, count - i);
}
