#pragma once
// Kernels over 8-bit codes, chosen once for the CPU that runs them. All sums are exact integers, so every instruction
// set gives the same bits.

#include <cstddef>
#include <cstdint>

#include "base/span.hpp"

namespace tandem::vec {

/// a, b: n bytes; q: n int16; any alignment, nothing outside is read, n <= 16,000.
struct CodeKernels {
  const char* name;
  /// Between codes.
  std::uint32_t (*l2_squared)(const std::uint8_t* a, const std::uint8_t* b, std::size_t n);
  std::uint32_t (*l1)(const std::uint8_t* a, const std::uint8_t* b, std::size_t n);
  std::uint32_t (*dot)(const std::uint8_t* a, const std::uint8_t* b, std::size_t n);
  /// Between a query and a code. The caller keeps |q| so small that the sums fit (QueryLimit*()).
  std::uint32_t (*query_l2_squared)(const std::int16_t* q, const std::uint8_t* b, std::size_t n);
  std::uint32_t (*query_l1)(const std::int16_t* q, const std::uint8_t* b, std::size_t n);
  std::int32_t (*query_dot)(const std::int16_t* q, const std::uint8_t* b, std::size_t n);
};

[[nodiscard]] const CodeKernels& CodeKernelsForCpu() noexcept;
[[nodiscard]] base::Span<const CodeKernels* const> AvailableCodeKernels() noexcept;

}  // namespace tandem::vec
