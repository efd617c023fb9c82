// GadgetFS (drivers/usb/gadget/legacy/inode.c): descriptors written to the controller's file bind
// the gadget; SET_CONFIGURATION is answered by this process, which then opens the endpoints' files
// and says to each what it is.  Closing the controller's file unbinds.

#include <cerrno>
#include <stdexcept>
#include <thread>

#include <fcntl.h>
#include <linux/usb/gadgetfs.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "lib/usb/descriptors.h"

namespace at {

namespace {

// As dummy_hcd names its bulk endpoints; the name fixes direction and number.
struct NamedEndpoint {
    const char* name;
    std::uint8_t address;
};
constexpr NamedEndpoint endpoint_names[max_endpoints] = {
    {"ep2out-bulk", 0x02}, {"ep1in-bulk", 0x81}, {"ep7out-bulk", 0x07}, {"ep6in-bulk", 0x86}};

DescriptorBytes configuration(std::uint32_t endpoints, std::uint16_t packet) {
    DescriptorBytes body;
    body.add(interface_descriptor(endpoints, 0));
    for (std::uint32_t i = 0; i < endpoints; ++i)
        body.add(endpoint_descriptor(endpoint_names[i].address, packet));
    usb_config_descriptor head{};
    head.bLength = USB_DT_CONFIG_SIZE;
    head.bDescriptorType = USB_DT_CONFIG;
    head.wTotalLength =
        htole16(static_cast<std::uint16_t>(USB_DT_CONFIG_SIZE + body.text().size()));
    head.bNumInterfaces = 1;
    head.bConfigurationValue = 1;
    head.bmAttributes = USB_CONFIG_ATT_ONE | USB_CONFIG_ATT_SELFPOWER;
    head.bMaxPower = 1;
    const std::string bytes(reinterpret_cast<const char*>(&head), USB_DT_CONFIG_SIZE);
    DescriptorBytes all;
    for (const char byte : bytes)
        all.add(byte);
    all.add(body);
    return all;
}

std::string device_description(std::uint32_t endpoints) {
    usb_device_descriptor device{};
    device.bLength = USB_DT_DEVICE_SIZE;
    device.bDescriptorType = USB_DT_DEVICE;
    device.bcdUSB = htole16(0x0200);
    device.bDeviceClass = USB_CLASS_VENDOR_SPEC;
    device.bMaxPacketSize0 = 64;
    device.idVendor = htole16(usb_vendor);
    device.idProduct = htole16(usb_product);
    device.bNumConfigurations = 1;
    DescriptorBytes all;
    all.add(std::uint32_t{0}); // the message's tag
    all.add(configuration(endpoints, 64));
    all.add(configuration(endpoints, 512));
    all.add(device);
    return all.text();
}

class GadgetFs : public Gadget {
public:
    GadgetFs(std::string ep0_path, std::uint32_t endpoints)
        : Gadget(std::move(ep0_path), endpoints), bell_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
        if (!bell_)
            throw_errno("eventfd");
    }
    ~GadgetFs() override { end_server(); }

    const char* driver() const override { return "gadgetfs"; }

    void open() override {
        ep0_ = Fd(::open(ep0_path_.c_str(), O_RDWR | O_CLOEXEC | O_NONBLOCK));
        if (!ep0_)
            throw_errno("open " + ep0_path_);
    }

    void bind() override {
        if (!ep0_) // unbinding closed it
            open();
        const std::string bytes = device_description(endpoints_);
        if (write(ep0_.get(), bytes.data(), bytes.size()) != static_cast<ssize_t>(bytes.size()))
            throw_errno("gadgetfs: descriptors");
        server_ = std::thread([this] { serve(); });
    }

    void unbind() override {
        end_server();
        ep0_ = Fd();
    }

    bool cancelled_with_bytes() const override { return true; }

    void close(bool ep0_first) override {
        end_server();
        if (ep0_first)
            ep0_ = Fd();
        bury_endpoints();
        ep0_ = Fd();
    }

private:
    void end_server() {
        if (!server_.joinable())
            return;
        eventfd_write(bell_.get(), 1);
        server_.join();
        eventfd_t rung = 0;
        eventfd_read(bell_.get(), &rung);
    }

    // Whoever answers control requests: until the bell, as poll(2) says.
    void serve() {
        for (;;) {
            pollfd polled[2] = {{ep0_.get(), POLLIN, 0}, {bell_.get(), POLLIN, 0}};
            // Bounded: a change of mode shows in read(2) alone.
            if (::poll(polled, 2, 50) < 0 && errno != EINTR)
                return;
            if (polled[1].revents)
                return;
            usb_gadgetfs_event event{};
            if (read(ep0_.get(), &event, sizeof event) != sizeof event)
                continue;
            if (event.type == GADGETFS_SETUP)
                answer(event.u.setup);
        }
    }

    // What has data for the host is stalled by the wrong call; the rest is acknowledged.
    void answer(const usb_ctrlrequest& setup) {
        if (setup.bRequest == USB_REQ_SET_CONFIGURATION && setup.wValue)
            for (std::uint32_t i = 0; i < endpoints_; ++i)
                enable(i);
        [[maybe_unused]] const ssize_t done = read(ep0_.get(), nullptr, 0);
    }

    void enable(std::uint32_t endpoint) {
        const std::string path = folder_ + "/" + endpoint_names[endpoint].name;
        const Fd opened(::open(path.c_str(), O_RDWR | O_CLOEXEC | O_NONBLOCK));
        if (!opened)
            return; // EBUSY: still enabled from before a reset of the port
        DescriptorBytes bytes;
        bytes.add(std::uint32_t{1}); // the message's tag
        bytes.add(endpoint_descriptor(endpoint_names[endpoint].address, 64));
        bytes.add(endpoint_descriptor(endpoint_names[endpoint].address, 512));
        const std::string& text = bytes.text();
        if (write(opened.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size()))
            place(endpoint, opened);
    }

    Fd bell_; // rung to end the server
    std::thread server_;
};

} // namespace

std::unique_ptr<Gadget> make_gadgetfs(const std::string& ep0_path, std::uint32_t endpoints) {
    return std::make_unique<GadgetFs>(ep0_path, endpoints);
}

} // namespace at
