// What counts as a right answer decides every recall figure, so it is pinned down here.

#include "common/recall.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace tandem::bench {
namespace {

/// Four base points on a line at 0, 1, 1 and 5; one query at 0. Rows 1 and 2 are equally far.
class RecallJudgeTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() / ("tandem-recall-" + std::to_string(getpid()));
    std::filesystem::create_directories(folder_);
    Write<float>("base", {{0}, {1}, {1}, {5}});
    Write<float>("query", {{0}});
    Write<std::int32_t>("truth", {{0, 1, 2, 3}});
    base_ = std::make_unique<VectorFile<float>>(Path("base"));
    query_ = std::make_unique<VectorFile<float>>(Path("query"));
    truth_ = std::make_unique<VectorFile<std::int32_t>>(Path("truth"));
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  [[nodiscard]] Score ByDistance(const std::vector<std::int64_t>& ids, std::size_t k = 2) const {
    return RecallJudge(truth_.get(), base_.get(), query_.get(), Metric::kL2, k, 1e-6).Judge(0, ids);
  }
  [[nodiscard]] Score ById(const std::vector<std::int64_t>& ids, std::size_t k = 2) const {
    return RecallJudge(truth_.get(), nullptr, nullptr, Metric::kL2, k, 1e-6).Judge(0, ids);
  }

  template <typename T>
  void Write(const std::string& name, const std::vector<std::vector<T>>& rows) {
    VectorFileWriter<T> writer(Path(name));
    for (const std::vector<T>& row : rows) writer.Append(Span<const T>(row.data(), row.size()));
    writer.Close();
  }
  [[nodiscard]] std::string Path(const std::string& name) const { return (folder_ / name).string(); }

  std::filesystem::path folder_;
  std::unique_ptr<VectorFile<float>> base_;
  std::unique_ptr<VectorFile<float>> query_;
  std::unique_ptr<VectorFile<std::int32_t>> truth_;
};

TEST_F(RecallJudgeTest, EquallyFarRowsAreEquallyRightByDistance) {
  EXPECT_TRUE(ByDistance({0, 2}).exact);
  EXPECT_EQ(ByDistance({0, 2}).hits, 2U);
}

TEST_F(RecallJudgeTest, EquallyFarRowsAreNotEquallyRightById) {
  EXPECT_FALSE(ById({0, 2}).exact);
  EXPECT_EQ(ById({0, 2}).hits, 1U);
}

TEST_F(RecallJudgeTest, FartherRowIsAMiss) {
  EXPECT_EQ(ByDistance({0, 3}).hits, 1U);
  EXPECT_FALSE(ByDistance({0, 3}).exact);
}

TEST_F(RecallJudgeTest, ShortResultIsAMiss) {
  EXPECT_EQ(ByDistance({0}).hits, 1U);
  EXPECT_EQ(ByDistance({0}).wanted, 2U);
  EXPECT_FALSE(ByDistance({0}).exact);
  EXPECT_FALSE(ById({0}).exact);
}

TEST_F(RecallJudgeTest, RepeatedRowCountsOnce) {
  EXPECT_EQ(ByDistance({0, 0}).hits, 1U);
  EXPECT_FALSE(ByDistance({0, 0}).exact);
  EXPECT_FALSE(ById({0, 0}).exact);
}

TEST_F(RecallJudgeTest, WrongOrderIsCompleteButNotExact) {
  EXPECT_EQ(ByDistance({1, 0}).hits, 2U);
  EXPECT_FALSE(ByDistance({1, 0}).exact);
}

TEST_F(RecallJudgeTest, RowThatIsNotInTheSetIsAMissNotACrash) {
  EXPECT_EQ(ByDistance({0, 10'000'000}).hits, 1U);
  EXPECT_EQ(ByDistance({-1, 0}).hits, 1U);
  EXPECT_FALSE(ByDistance({0, 10'000'000}).exact);
}

TEST_F(RecallJudgeTest, OnlyTheFirstKCount) {
  EXPECT_EQ(ByDistance({3, 3, 0, 1}).hits, 0U);
  EXPECT_TRUE(ByDistance({0, 1, 3}).exact);
}

TEST_F(RecallJudgeTest, PaddedTruthWantsFewerRows) {
  Write<std::int32_t>("padded", {{0, -1, -1, -1}});
  const VectorFile<std::int32_t> padded(Path("padded"));
  const RecallJudge judge(&padded, base_.get(), query_.get(), Metric::kL2, 3, 1e-6);
  EXPECT_EQ(judge.Judge(0, {0}).wanted, 1U);
  EXPECT_TRUE(judge.Judge(0, {0}).exact);
  EXPECT_FALSE(judge.Judge(0, {0, 1}).exact);
  const RecallJudge by_id(&padded, nullptr, nullptr, Metric::kL2, 3, 1e-6);
  EXPECT_TRUE(by_id.Judge(0, {0}).exact);
  EXPECT_FALSE(by_id.Judge(0, {0, 1}).exact);
}

TEST_F(RecallJudgeTest, RaggedFileIsRefused) {
  Write<float>("ragged", {{1, 2}, {1}});
  EXPECT_THROW(VectorFile<float>(Path("ragged")), std::runtime_error);
  EXPECT_THROW(VectorFile<float>(Path("base"), 4), std::runtime_error);
}

TEST(ReferenceDistance, IsTheOperatorsValue) {
  const std::vector<float> a{3, 4};
  const std::vector<float> b{0, 0};
  const std::vector<float> c{4, -3};
  EXPECT_DOUBLE_EQ(ReferenceDistance(Metric::kL2, a, b), 5.0);
  EXPECT_DOUBLE_EQ(ReferenceDistance(Metric::kL1, a, b), 7.0);
  EXPECT_DOUBLE_EQ(ReferenceDistance(Metric::kInnerProduct, a, a), -25.0);
  EXPECT_DOUBLE_EQ(ReferenceDistance(Metric::kCosine, a, c), 1.0);
}

}  // namespace
}  // namespace tandem::bench
