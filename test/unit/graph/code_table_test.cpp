#include "graph/code_table.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <random>
#include <string>
#include <unordered_map>
#include <vector>

namespace tandem::graph {
namespace {

TEST(CodeTable, AgreesWithAMapOverRandomCodes) {
  constexpr std::size_t kCodes = 5'000;
  constexpr std::size_t kBytes = 13;
  std::mt19937 generator(3);
  std::vector<std::string> codes;
  std::unordered_map<std::string, std::uint32_t> expected;
  CodeTable table(kCodes);
  for (std::size_t i = 0; i < kCodes; ++i) {
    std::string code(kBytes, '\0');
    code[i % kBytes] = static_cast<char>(generator() % 200);  // about one in two comes again
    const auto node = static_cast<std::uint32_t>(codes.size());
    const std::uint64_t hash = HashOfCode(reinterpret_cast<const std::uint8_t*>(code.data()), kBytes);
    const std::uint32_t found =
        table.FindOrInsert(hash, node, [&](std::uint32_t other) { return codes[other] == code; });
    const auto known = expected.find(code);
    EXPECT_EQ(found, known == expected.end() ? CodeTable::kNone : known->second);
    if (found != CodeTable::kNone) continue;
    expected.emplace(code, node);
    codes.push_back(code);
  }
  EXPECT_LT(codes.size(), kCodes);
}

// Broken once by leaving out the comparison of codes.
TEST(CodeTable, TellsCodesWithEqualHashesApart) {
  CodeTable table(10);
  for (std::uint32_t node = 0; node < 10; ++node) {
    EXPECT_EQ(table.FindOrInsert(77, node, [](std::uint32_t) { return false; }), CodeTable::kNone);
  }
  EXPECT_EQ(table.FindOrInsert(77, 10, [](std::uint32_t node) { return node == 6; }), 6U);
}

TEST(CodeTable, HoldsAsManyAsAnnounced) {
  CodeTable table(1'000);
  for (std::uint32_t node = 0; node < 1'000; ++node) {
    // All wrap around the end of the table.
    const std::uint64_t hash = ~std::uint64_t{0} - node;
    EXPECT_EQ(table.FindOrInsert(hash, node, [](std::uint32_t) { return false; }), CodeTable::kNone);
  }
}

TEST(CodeTable, HashSeesEveryByte) {
  for (std::size_t bytes = 1; bytes < 40; ++bytes) {
    std::vector<std::uint8_t> code(bytes, 7);
    const std::uint64_t hash = HashOfCode(code.data(), bytes);
    for (std::size_t i = 0; i < bytes; ++i) {
      code[i] = 8;
      EXPECT_NE(HashOfCode(code.data(), bytes), hash) << bytes << " " << i;
      code[i] = 7;
    }
  }
}

}  // namespace
}  // namespace tandem::graph
