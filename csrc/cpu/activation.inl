// Activations of api/activation.h on vectors. Formulas and NaN behaviour are those of torch.nn.

template <typename T>
GK_INLINE Vec<T> relu(Vec<T> v) {
  return max(Vec<T>::broadcast(0), v);  // in this order a NaN comes through
}

template <typename T>
GK_INLINE Vec<T> clamp_0_6(Vec<T> v) {
  return min(Vec<T>::broadcast(6), relu(v));
}

#if GK_ISA_WIDTH == 1

template <typename T>
Vec<T> exp(Vec<T> v) {
  return {std::exp(v.v)};
}
template <typename T>
Vec<T> tanh(Vec<T> v) {
  return {std::tanh(v.v)};
}
template <typename T>
Vec<T> erf(Vec<T> v) {
  return {std::erf(v.v)};
}

#else

// exp(x) = 2^n exp(r), n = round(x / ln 2), |r| <= ln(2) / 2; degree 6 leaves a relative error of about 1e-7.
// Results below 2^-126 and above 2^127 are those of the nearest bound.
template <typename T>
GK_INLINE Vec<T> exp(Vec<T> v) {
  using V = Vec<T>;
  const V x = min(V::broadcast(T(88.02)), max(V::broadcast(T(-87.33)), v));
  const V n = round(x * V::broadcast(T(1.44269504088896341)));
  // ln 2 in two parts, the first short enough for n * part to be exact.
  const V r = fnma(n, V::broadcast(T(-2.12194440e-4)), fnma(n, V::broadcast(T(0.693359375)), x));
  V sum = V::broadcast(T(1.0 / 720));
  sum = fma(sum, r, V::broadcast(T(1.0 / 120)));
  sum = fma(sum, r, V::broadcast(T(1.0 / 24)));
  sum = fma(sum, r, V::broadcast(T(1.0 / 6)));
  sum = fma(sum, r, V::broadcast(T(0.5)));
  sum = fma(sum, r, V::broadcast(T(1)));
  sum = fma(sum, r, V::broadcast(T(1)));
  return sum * pow2(n);
}

// Near 0 an odd minimax polynomial (Cephes, tanhf), since 1 - 2 / (exp(2 x) + 1) cancels there.
template <typename T>
GK_INLINE Vec<T> tanh(Vec<T> v) {
  using V = Vec<T>;
  const V z = v * v;
  V small = V::broadcast(T(-5.70498872745e-3));
  small = fma(small, z, V::broadcast(T(2.06390887954e-2)));
  small = fma(small, z, V::broadcast(T(-5.37397155531e-2)));
  small = fma(small, z, V::broadcast(T(1.33314422036e-1)));
  small = fma(small, z, V::broadcast(T(-3.33332819422e-1)));
  small = fma(small * z, v, v);
  const V one = V::broadcast(1);
  const V large = one - V::broadcast(2) / (exp(v + v) + one);
  return select_less(V::broadcast(T(0.625)), abs(v), large,
                     small);  // a NaN takes the polynomial and stays NaN
}

// Abramowitz and Stegun, "Handbook of Mathematical Functions", 7.1.26: absolute error at most 1.5e-7.
template <typename T>
GK_INLINE Vec<T> erf(Vec<T> v) {
  using V = Vec<T>;
  const V one = V::broadcast(1), x = abs(v);
  const V t = one / fma(V::broadcast(T(0.3275911)), x, one);
  V sum = V::broadcast(T(1.061405429));
  sum = fma(sum, t, V::broadcast(T(-1.453152027)));
  sum = fma(sum, t, V::broadcast(T(1.421413741)));
  sum = fma(sum, t, V::broadcast(T(-0.284496736)));
  sum = fma(sum, t, V::broadcast(T(0.254829592)));
  const V result = fnma(sum * t, exp(V::broadcast(0) - x * x), one);
  return select_less(v, V::broadcast(0), V::broadcast(0) - result, result);
}

#endif

template <typename T>
GK_INLINE Vec<T> sigmoid(Vec<T> v) {
  const Vec<T> one = Vec<T>::broadcast(1);
  return one / (one + exp(Vec<T>::broadcast(0) - v));
}

// act(v); slope is used by leaky_relu and prelu. Kept out of line: a rare activation must not cost the common
// ones registers.
template <typename T>
__attribute__((noinline)) Vec<T> activate(Activation activation, Vec<T> v, Vec<T> slope) {
  using V = Vec<T>;
  const V sixth = V::broadcast(T(1.0 / 6)), three = V::broadcast(3), half = V::broadcast(T(0.5)),
          one = V::broadcast(1);
  switch (activation) {
    case Activation::kNone:
      return v;
    case Activation::kRelu:
      return relu(v);
    case Activation::kRelu6:
      return clamp_0_6(v);
    case Activation::kLeakyRelu:
    case Activation::kPrelu:
      return select_less(V::broadcast(0), v, v, slope * v);
    case Activation::kSilu:
      return v * sigmoid(v);
    case Activation::kGelu:
      return half * v * (one + erf(v * V::broadcast(T(0.70710678118654752))));
    case Activation::kSigmoid:
      return sigmoid(v);
    case Activation::kTanh:
      return tanh(v);
    case Activation::kHardswish:
      return v * clamp_0_6(v + three) * sixth;
    case Activation::kHardsigmoid:
      return clamp_0_6(v + three) * sixth;
  }
  return v;
}
