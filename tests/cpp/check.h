// The few lines the C++ tests share: a check that counts, a fixed random stream, and a loop over instruction
// sets.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "cpu/isa.h"

namespace greenkernels::test {

inline int failures = 0;

#define GK_EXPECT(condition, ...)                                 \
  do {                                                            \
    if (!(condition)) {                                           \
      ++::greenkernels::test::failures;                           \
      std::printf("%s:%d: %s: ", __FILE__, __LINE__, #condition); \
      std::printf(__VA_ARGS__);                                   \
      std::printf("\n");                                          \
    }                                                             \
  } while (0)

// Exit code of a test program.
inline int result() {
  std::printf("%s\n", failures ? "FAILED" : "ok");
  return failures ? 1 : 0;
}

template <typename T>
std::vector<T> random_normal(int64_t count, unsigned seed) {
  std::mt19937 stream(seed);
  std::normal_distribution<double> normal;
  std::vector<T> values(count);
  for (T& value : values) value = T(normal(stream));
  return values;
}

// Products that a case may take. All cases run, unless GREENKERNELS_TEST_PRODUCTS sets a limit for an
// emulator, on which the largest take minutes.
inline double most_products() {
  const char* limit = std::getenv("GREENKERNELS_TEST_PRODUCTS");
  return limit ? std::atof(limit) : std::numeric_limits<double>::infinity();
}

// Runs test(level) with each instruction set of this CPU in force; or with GREENKERNELS_TEST_ISA alone, for
// tools that slow a program down.
template <typename Test>
void for_each_isa(const Test& test) {
  const char* only = std::getenv("GREENKERNELS_TEST_ISA");
  int tested = 0;
  for (const cpu::Isa level : cpu::isa_levels()) {
    if (only && std::strcmp(only, cpu::isa_name(level)) != 0) continue;
    cpu::set_isa(cpu::isa_name(level));
    test(level);
    ++tested;
  }
  GK_EXPECT(tested > 0, "GREENKERNELS_TEST_ISA must be a level of this CPU, got %s", only);
}

}  // namespace greenkernels::test
