#include "lib/driver_state.h"

#include <algorithm>
#include <filesystem>
#include <sstream>

#include <fcntl.h>

#include "lib/bounded.h"

namespace at {

namespace {

constexpr char root[] = "/sys/kernel/debug/zcdma";
constexpr std::chrono::milliseconds read_bound{1500};

std::vector<std::string> device_directories() {
    std::vector<std::string> names;
    for (int i = 0; i < 8; ++i) {
        const std::string path = std::string(root) + "/zcdma" + std::to_string(i);
        std::error_code error;
        if (std::filesystem::exists(path, error))
            names.push_back(path);
    }
    return names;
}

} // namespace

Books parse_books(const std::string& text) {
    Books books;
    std::istringstream lines(text);
    std::string name;
    std::int64_t value = 0;
    while (lines >> name >> value)
        books[name] += value;
    return books;
}

std::vector<DriverRequest> parse_requests(const std::string& text) {
    std::vector<DriverRequest> requests;
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);) {
        DriverRequest request;
        request.line = line;
        std::istringstream words(line);
        for (std::string word; words >> word;) {
            const auto equals = word.find('=');
            if (equals == std::string::npos)
                continue;
            const std::string key = word.substr(0, equals);
            const std::string value = word.substr(equals + 1);
            if (key == "cookie")
                request.cookie = std::strtoull(value.c_str(), nullptr, 0);
            else if (key == "phase")
                request.phase = value;
            else if (key == "age_us")
                request.age_us = std::strtoull(value.c_str(), nullptr, 0);
            else if (key == "sync")
                request.sync = value == "1";
            else if (key == "pid")
                request.thread = std::atoi(value.c_str());
            else if (key == "result")
                request.result = std::strtoll(value.c_str(), nullptr, 10);
            else if (key == "refs") {
                std::istringstream names(value);
                for (std::string name; std::getline(names, name, ',');)
                    if (!name.empty() && name != "-" && name != "none")
                        request.references.push_back(name);
            }
        }
        if (!request.phase.empty())
            requests.push_back(std::move(request));
    }
    return requests;
}

std::optional<Books> read_books(bool* blocked) {
    std::optional<Books> all;
    for (const std::string& directory : device_directories()) {
        const auto answer = bounded_read(directory + "/books", read_bound);
        if (!answer.in_time && blocked)
            *blocked = true;
        if (!answer.in_time || answer.status)
            continue;
        if (!all)
            all.emplace();
        for (const auto& [name, value] : parse_books(answer.text))
            (*all)[name] += value;
    }
    return all;
}

std::vector<DriverRequest> read_requests(bool* blocked) {
    std::vector<DriverRequest> all;
    for (const std::string& directory : device_directories()) {
        const auto answer = bounded_read(directory + "/requests", read_bound);
        if (!answer.in_time && blocked)
            *blocked = true;
        if (!answer.in_time || answer.status)
            continue;
        for (DriverRequest& request : parse_requests(answer.text))
            all.push_back(std::move(request));
    }
    return all;
}

RequestsLook::RequestsLook()
    : file_(open("/sys/kernel/debug/zcdma/zcdma0/requests", O_RDONLY | O_CLOEXEC)) {}

std::optional<std::vector<DriverRequest>> RequestsLook::now() const {
    const auto text = file_ ? read_rest(file_.get()) : std::nullopt;
    return text ? std::optional(parse_requests(*text)) : std::nullopt;
}

std::optional<std::vector<DriverRequest>> requests_now() {
    return RequestsLook().now();
}

std::int64_t value_of(const Books& books, const std::string& name) {
    const auto found = books.find(name);
    return found == books.end() ? 0 : found->second;
}

RingState parse_ring(const std::string& text) {
    RingState ring;
    ring.counts = parse_books(text);
    ring.halted = value_of(ring.counts, "halted") != 0;
    ring.gone = value_of(ring.counts, "gone") != 0;
    ring.starts = static_cast<std::uint64_t>(value_of(ring.counts, "starts"));
    ring.room_for = static_cast<std::uint64_t>(value_of(ring.counts, "room_for"));
    ring.text = text;
    std::replace(ring.text.begin(), ring.text.end(), '\n', ' ');
    return ring;
}

std::optional<RingState> ring_now() {
    const auto text = read_file("/sys/kernel/debug/zcdma/zcdma0/ring");
    return text ? std::optional(parse_ring(*text)) : std::nullopt;
}

std::string where_it_stands(const DriverRequest& request) {
    std::string text = "request in phase " + request.phase;
    if (request.references.empty())
        return text + ", no reference held";
    text += request.references.size() > 1 ? ", references " : ", reference ";
    for (std::size_t i = 0; i < request.references.size(); ++i)
        text += (i ? " and " : "") + request.references[i];
    return text + " not returned";
}

std::string signature_of(const DriverRequest& request) {
    std::string text = request.phase + "/";
    for (std::size_t i = 0; i < request.references.size(); ++i)
        text += (i ? "+" : "") + request.references[i];
    return text;
}

} // namespace at
