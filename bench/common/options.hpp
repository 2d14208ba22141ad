#pragma once
// Command lines of the form `--name value`; a name may repeat.

#include <algorithm>
#include <cstdint>
#include <map>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

namespace tandem::bench {

/// Every problem with the command line is a std::invalid_argument that names the option.
class Options {
 public:
  /// Parses argv[first..]; `known` lists the names accepted, without dashes.
  Options(int argc, char** argv, int first, const std::set<std::string>& known) {
    for (int i = first; i < argc; i += 2) {
      const std::string argument = argv[i];
      if (argument.rfind("--", 0) != 0 || known.count(argument.substr(2)) == 0) {
        throw std::invalid_argument("unknown option " + argument);
      }
      if (i + 1 >= argc) throw std::invalid_argument(argument + " needs a value");
      values_[argument.substr(2)].push_back(argv[i + 1]);
    }
  }

  [[nodiscard]] bool Has(const std::string& name) const { return values_.count(name) != 0; }

  [[nodiscard]] std::string Text(const std::string& name) const {
    if (!Has(name)) throw std::invalid_argument("--" + name + " is needed");
    return values_.at(name).back();
  }
  [[nodiscard]] std::string Text(const std::string& name, const std::string& otherwise) const {
    return Has(name) ? values_.at(name).back() : otherwise;
  }
  [[nodiscard]] std::vector<std::string> All(const std::string& name) const {
    return Has(name) ? values_.at(name) : std::vector<std::string>{};
  }
  /// A whole number from 0 to 2^53.
  [[nodiscard]] std::size_t Count(const std::string& name, std::size_t otherwise) const {
    return Has(name) ? ToCount(name, values_.at(name).back()) : otherwise;
  }
  /// A comma-separated list of whole numbers.
  [[nodiscard]] std::vector<std::size_t> Counts(const std::string& name, const std::string& otherwise) const {
    std::vector<std::size_t> counts;
    std::string text = Text(name, otherwise);
    for (std::size_t at = 0; at <= text.size();) {
      const std::size_t comma = std::min(text.find(',', at), text.size());
      counts.push_back(ToCount(name, text.substr(at, comma - at)));
      at = comma + 1;
    }
    return counts;
  }
  [[nodiscard]] double Number(const std::string& name, double otherwise) const {
    if (!Has(name)) return otherwise;
    std::size_t used = 0;
    const std::string& text = values_.at(name).back();
    double value = 0;
    try {
      value = std::stod(text, &used);
    } catch (const std::exception&) {
      used = 0;
    }
    if (used == 0 || used != text.size())
      throw std::invalid_argument("--" + name + ": bad number '" + text + "'");
    return value;
  }

 private:
  static std::size_t ToCount(const std::string& name, const std::string& text) {
    const bool digits =
        !text.empty() && text.size() <= 15 && text.find_first_not_of("0123456789") == std::string::npos;
    if (!digits) throw std::invalid_argument("--" + name + ": bad count '" + text + "'");
    return static_cast<std::size_t>(std::stoull(text));
  }

  std::map<std::string, std::vector<std::string>> values_;
};

}  // namespace tandem::bench
