#pragma once
// One JSON object on one line, built field by field: what every bench program prints on stdout.

#include <cinttypes>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <string>

namespace tandem::bench {

/// Builds `{"a":1,"b":"x"}` in the order of the calls. Names are literals of ours and are not escaped.
class JsonLine {
 public:
  JsonLine& Text(const char* name, const std::string& value) {
    Name(name);
    AppendString(value);
    return *this;
  }
  JsonLine& Integer(const char* name, std::int64_t value) {
    Name(name);
    body_ += std::to_string(value);
    return *this;
  }
  /// NaN and infinity become null: JSON has no word for them.
  JsonLine& Number(const char* name, double value, int digits = 6) {
    Name(name);
    char text[40];
    std::snprintf(text, sizeof text, "%.*g", digits, value);
    body_ += std::isfinite(value) ? text : "null";
    return *this;
  }
  JsonLine& Flag(const char* name, bool value) {
    Name(name);
    body_ += value ? "true" : "false";
    return *this;
  }
  [[nodiscard]] std::string Finish() const { return "{" + body_ + "}"; }

 private:
  void Name(const char* name) {
    if (!body_.empty()) body_ += ',';
    body_ += '"';
    body_ += name;
    body_ += "\":";
  }
  void AppendString(const std::string& value) {
    body_ += '"';
    for (const char c : value) {
      if (c == '"' || c == '\\') {
        body_ += '\\';
        body_ += c;
      } else if (static_cast<unsigned char>(c) < 0x20) {
        char text[8];
        std::snprintf(text, sizeof text, "\\u%04x", static_cast<unsigned>(c));
        body_ += text;
      } else {
        body_ += c;
      }
    }
    body_ += '"';
  }

  std::string body_;
};

}  // namespace tandem::bench
