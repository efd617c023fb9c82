// JSON as far as reports need it: values are made into text at once, in the order of the calls.
#pragma once

#include <concepts>
#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

namespace at::model {

class Json {
public:
    Json(std::string_view value) : text_(quoted(value)) {}
    Json(const std::string& value) : Json(std::string_view(value)) {}
    Json(const char* value) : Json(std::string_view(value)) {}
    template <std::integral T> Json(T value) {
        if constexpr (std::same_as<T, bool>)
            text_ = value ? "true" : "false";
        else
            text_ = std::to_string(value);
    }
    Json(const std::vector<std::string>& values) : Json(array()) {
        for (const std::string& one : values)
            add(one);
    }
    static Json null() { return Json(Raw{"null", 0}); }
    static Json array() { return Json(Raw{"[", ']'}); }
    static Json object() { return Json(Raw{"{", '}'}); }

    Json& add(const Json& value) {
        text_ += (text_.size() > 1 ? ",\n" : "") + value.text();
        return *this;
    }
    Json& with(std::string_view name, const Json& value) {
        text_ += (text_.size() > 1 ? "," : "") + quoted(name) + ":" + value.text();
        return *this;
    }
    std::string text() const { return end_ ? text_ + end_ : text_; }

private:
    struct Raw {
        const char* text;
        char end;
    };
    explicit Json(Raw raw) : text_(raw.text), end_(raw.end) {}
    static std::string quoted(std::string_view value) {
        std::string out = "\"";
        for (const char c : value) {
            if (c == '"' || c == '\\') {
                out += '\\';
                out += c;
            } else if (static_cast<unsigned char>(c) < 0x20) {
                char escape[8];
                std::snprintf(escape, sizeof(escape), "\\u%04x", static_cast<unsigned>(c));
                out += escape;
            } else {
                out += c;
            }
        }
        return out + '"';
    }
    std::string text_;
    char end_ = 0;
};

} // namespace at::model
