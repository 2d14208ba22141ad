#pragma once
// Values in PostgreSQL's binary wire form (big endian).

#include <cstdint>
#include <cstring>
#include <string>

#include "base/span.hpp"
#include "vec/kernels.hpp"

namespace tandem::bench {

inline void PutInt16(std::string& out, std::uint16_t value) {
  value = __builtin_bswap16(value);
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}
inline void PutInt32(std::string& out, std::uint32_t value) {
  value = __builtin_bswap32(value);
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}
inline void PutInt64(std::string& out, std::uint64_t value) {
  value = __builtin_bswap64(value);
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}
inline void PutFloat(std::string& out, float value) {
  std::uint32_t bits = 0;
  std::memcpy(&bits, &value, sizeof bits);
  PutInt32(out, bits);
}

/// How a vector travels.
enum class VectorForm {
  kVector,  ///< SQL type vector: int16 dimensions, int16 zero, float4[]
  kArray,   ///< real[], for servers without the type
  kHalf,    ///< SQL type halfvec: int16 dimensions, int16 zero, float16[]; rounded to the nearest
  kBit,  ///< SQL type bit: int32 bits, eight to a byte, the first in the highest one; 1 for what is above zero
};

inline void PutBits(std::string& out, base::Span<const float> vector) {
  PutInt32(out, static_cast<std::uint32_t>(vector.size()));
  const std::size_t first = out.size();
  out.append((vector.size() + 7) / 8, '\0');
  for (std::size_t i = 0; i < vector.size(); ++i)
    if (vector[i] > 0) out[first + i / 8] |= static_cast<char>(0x80U >> (i % 8));
}

inline void PutVector(std::string& out, base::Span<const float> vector, VectorForm form) {
  if (form == VectorForm::kBit) return PutBits(out, vector);
  if (form != VectorForm::kArray) {
    PutInt16(out, static_cast<std::uint16_t>(vector.size()));
    PutInt16(out, 0);
    for (const float value : vector) {
      if (form == VectorForm::kHalf)
        PutInt16(out, vec::ToHalf(value));
      else
        PutFloat(out, value);
    }
    return;
  }
  PutInt32(out, 1);    // array dimensions
  PutInt32(out, 0);    // no nulls
  PutInt32(out, 700);  // element type float4
  PutInt32(out, static_cast<std::uint32_t>(vector.size()));
  PutInt32(out, 1);  // lower bound
  for (const float value : vector) {
    PutInt32(out, sizeof value);
    PutFloat(out, value);
  }
}

/// The signature and header of a COPY ... (FORMAT binary) stream; its trailer is int16 -1.
inline void PutCopyHeader(std::string& out) {
  out.append("PGCOPY\n\xff\r\n\0", 11);
  PutInt32(out, 0);
  PutInt32(out, 0);
}

inline std::int64_t ReadInteger(const char* bytes, int length) {
  if (length == 8) {
    std::uint64_t value = 0;
    std::memcpy(&value, bytes, sizeof value);
    return static_cast<std::int64_t>(__builtin_bswap64(value));
  }
  if (length == 4) {
    std::uint32_t value = 0;
    std::memcpy(&value, bytes, sizeof value);
    return static_cast<std::int32_t>(__builtin_bswap32(value));
  }
  return -1;
}

}  // namespace tandem::bench
