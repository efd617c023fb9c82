#include "sched/token.hpp"

namespace at::model {

namespace {

constexpr std::string_view prefix = "at1-m-";
constexpr std::string_view digits =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.";

std::uint32_t fnv(std::string_view bytes) {
    std::uint32_t hash = 2166136261u;
    for (const char c : bytes)
        hash = (hash ^ static_cast<std::uint8_t>(c)) * 16777619u;
    return hash;
}

class Writer {
public:
    void byte(unsigned value) { bytes_ += static_cast<char>(value); }
    void number(std::size_t value) {
        for (; value >= 128; value >>= 7)
            byte(128u | (value & 127));
        byte(static_cast<unsigned>(value));
    }
    // Runs of equal items: five bits of item, three of length (0: a number follows).
    template <class T> void runs(const std::vector<T>& items) {
        number(items.size());
        for (std::size_t i = 0, j; i < items.size(); i = j) {
            for (j = i + 1; j < items.size() && items[j] == items[i];)
                ++j;
            const std::size_t length = j - i;
            byte(static_cast<unsigned>((items[i] & 31u) << 3 | (length < 8 ? length : 0)));
            if (length >= 8)
                number(length);
        }
    }
    const std::string& bytes() const { return bytes_; }

private:
    std::string bytes_;
};

class Reader {
public:
    explicit Reader(std::string_view bytes) : bytes_(bytes) {}
    unsigned byte() {
        if (at_ == bytes_.size()) {
            good_ = false;
            return 0;
        }
        return static_cast<std::uint8_t>(bytes_[at_++]);
    }
    std::size_t number() {
        std::size_t value = 0;
        for (unsigned shift = 0; shift < 35; shift += 7) {
            const unsigned part = byte();
            value |= std::size_t{part & 127} << shift;
            if (part < 128)
                return value;
        }
        good_ = false;
        return 0;
    }
    template <class T> std::vector<T> runs() {
        std::vector<T> items;
        const std::size_t size = number();
        if (size > 100'000)
            good_ = false;
        while (good_ && items.size() < size) {
            const unsigned head = byte();
            const std::size_t length = head & 7 ? head & 7 : number();
            if (length == 0 || items.size() + length > size) {
                good_ = false;
                break;
            }
            items.insert(items.end(), length, static_cast<T>(head >> 3));
        }
        return items;
    }
    bool good() const { return good_; }
    bool finished() const { return at_ == bytes_.size(); }

private:
    std::string_view bytes_;
    std::size_t at_ = 0;
    bool good_ = true;
};

std::string to_text(std::string_view bytes) {
    std::string text(prefix);
    for (std::size_t i = 0; i < bytes.size(); i += 3) {
        const std::size_t n = std::min<std::size_t>(3, bytes.size() - i);
        std::uint32_t group = 0;
        for (std::size_t k = 0; k < 3; ++k)
            group = group << 8 | (k < n ? static_cast<std::uint8_t>(bytes[i + k]) : 0u);
        for (std::size_t k = 0; k <= n; ++k)
            text += digits[group >> (18 - 6 * k) & 63];
    }
    return text;
}

std::optional<std::string> from_text(std::string_view text) {
    if (!text.starts_with(prefix))
        return std::nullopt;
    text.remove_prefix(prefix.size());
    std::string bytes;
    for (std::size_t i = 0; i < text.size(); i += 4) {
        const std::size_t n = std::min<std::size_t>(4, text.size() - i);
        if (n == 1)
            return std::nullopt;
        std::uint32_t group = 0;
        for (std::size_t k = 0; k < 4; ++k) {
            const std::size_t value = k < n ? digits.find(text[i + k]) : 0;
            if (value == digits.npos)
                return std::nullopt;
            group = group << 6 | static_cast<std::uint32_t>(value);
        }
        for (std::size_t k = 0; k + 1 < n; ++k)
            bytes += static_cast<char>(group >> (16 - 8 * k) & 255);
    }
    return bytes;
}

} // namespace

std::uint16_t name_hash(std::string_view name) {
    const std::uint32_t hash = fnv(name);
    return static_cast<std::uint16_t>(hash ^ hash >> 16);
}

std::string print_token(const Token& token) {
    Writer body;
    body.byte(token.core & 255);
    body.byte(token.core >> 8);
    body.byte(token.variant & 255);
    body.byte(token.variant >> 8);
    body.number(token.racers);
    body.number(token.limits.steps);
    body.number(token.limits.failed_allocations);
    body.number(token.limits.faults);
    body.runs(token.choices.values);
    body.runs(token.choices.steps);
    const std::uint16_t check = name_hash(body.bytes());
    Writer whole;
    whole.byte(check & 255);
    whole.byte(check >> 8);
    return to_text(whole.bytes() + body.bytes());
}

std::optional<Token> parse_token(std::string_view text) {
    const auto bytes = from_text(text);
    if (!bytes || bytes->size() < 3)
        return std::nullopt;
    Reader in(*bytes);
    const unsigned low = in.byte();
    const unsigned check = low | in.byte() << 8;
    if (check != name_hash(std::string_view(*bytes).substr(2)))
        return std::nullopt;
    Token token;
    token.core = static_cast<std::uint16_t>(in.byte());
    token.core = static_cast<std::uint16_t>(token.core | in.byte() << 8);
    token.variant = static_cast<std::uint16_t>(in.byte());
    token.variant = static_cast<std::uint16_t>(token.variant | in.byte() << 8);
    token.racers = static_cast<unsigned>(in.number());
    token.limits.steps = static_cast<unsigned>(in.number());
    token.limits.failed_allocations = static_cast<unsigned>(in.number());
    token.limits.faults = static_cast<unsigned>(in.number());
    token.choices.values = in.runs<std::uint8_t>();
    token.choices.steps = in.runs<FiberId>();
    if (!in.good() || !in.finished())
        return std::nullopt;
    return token;
}

} // namespace at::model
