// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
/* See bus.h. */
#include "test.h"

#include "bus.h"

#define FIRST_PFN 0x1000
#define VIRTIO_TRANSPORT_F_START 28
#define VIRTIO_TRANSPORT_F_END 41

struct vbb_balloon *vb;
struct virtio_balloon_config config;
u32 bus_num = STUB_QUEUE_MAX;
int bus_register_err, bus_find_err;
unsigned int bus_nr_written;
const char *bus_names[VBB_NR_VQS];

static struct virtio_driver *driver;
static struct stub_queue *queues[VBB_NR_VQS];
static u64 offered;
static u8 status;

/* --- The device, as its driver reaches it */

static void bus_get(struct virtio_device *dev, unsigned int off, void *buf, unsigned int len)
{
	assert_true(off + len <= sizeof(config));
	memcpy(buf, (u8 *)&config + off, len);
}

static void bus_set(struct virtio_device *dev, unsigned int off, const void *buf, unsigned int len)
{
	assert_int_equal(len, sizeof(__le32));
	if (off == offsetof(struct virtio_balloon_config, actual))
		bus_nr_written++;
	else
		assert_int_equal(off, offsetof(struct virtio_balloon_config, poison_val));
	memcpy((u8 *)&config + off, buf, len);
}

static u8 bus_get_status(struct virtio_device *dev)
{
	return status;
}

static void bus_set_status(struct virtio_device *dev, u8 value)
{
	status = value;
	if (status & VIRTIO_CONFIG_S_DRIVER_OK)
		device_init(vb);
}

static u64 bus_get_features(struct virtio_device *dev)
{
	return offered;
}

static void bus_reset(struct virtio_device *dev)
{
	status = 0;
	device_init(NULL);
}

static int bus_find_vqs(struct virtio_device *dev, unsigned int nr, struct virtqueue **vqs,
			vq_callback_t **callbacks, const char *const *names, const bool *ctx,
			struct irq_affinity *desc)
{
	unsigned int i, number = 0;

	memset(bus_names, 0, sizeof(bus_names));
	for (i = 0; i < nr && !bus_find_err; i++) {
		vqs[i] = NULL;
		if (!names[i])
			continue;
		assert_null(queues[i]);
		queues[i] = aligned_alloc(_Alignof(struct stub_queue), sizeof(*queues[i]));
		assert_non_null(queues[i]);
		stub_queue_init(queues[i], dev, bus_num);
		queues[i]->vq.callback = callbacks[i];
		vqs[i] = &queues[i]->vq;
		bus_names[number++] = names[i];
	}
	return bus_find_err;
}

/* Not before the device can reach them no more */
static void bus_del_vqs(struct virtio_device *dev)
{
	unsigned int i;

	assert_int_equal(status, 0);
	for (i = 0; i < VBB_NR_VQS; i++) {
		free(queues[i]);
		queues[i] = NULL;
	}
}

static const struct virtio_config_ops bus_ops = {
	.get = bus_get,
	.set = bus_set,
	.get_status = bus_get_status,
	.set_status = bus_set_status,
	.reset = bus_reset,
	.find_vqs = bus_find_vqs,
	.del_vqs = bus_del_vqs,
	.get_features = bus_get_features,
};

struct virtio_device vdev = { .config = &bus_ops };

/* --- The bus */

int register_virtio_driver(struct virtio_driver *drv)
{
	assert_null(driver);
	if (!bus_register_err)
		driver = drv;
	return bus_register_err;
}

void unregister_virtio_driver(struct virtio_driver *drv)
{
	assert_ptr_equal(driver, drv);
	driver = NULL;
}

static void bus_gone(void)
{
	size_t i;

	for (i = 0; i < VBB_NR_VQS; i++)
		assert_null(queues[i]);
	assert_false(stub_work());
	assert_null(stub_oom);
	assert_null(stub_shrinker);
	assert_null(stub_reporting);
	assert_int_equal(stub_nr_free, STUB_NR_PAGES);
	assert_int_equal(stub_managed, 0);
}

static void bus_end(void)
{
	bus_gone();
	free(vdev.priv);
	vdev.priv = NULL;
	vb = NULL;
	stub_module_exit();
	assert_null(driver);
}

int bus_probe(u64 features)
{
	unsigned int i;
	int err;

	stub_pages_init(FIRST_PFN);
	stub_nr_errors = 0;
	bus_nr_written = 0;
	memset(&config, 0, sizeof(config));
	offered = features;
	status = 0;
	err = stub_module_init();
	if (err)
		return err;
	vdev.features = 0;
	for (i = 0; i < driver->feature_table_size; i++)
		vdev.features |= features & BIT_ULL(driver->feature_table[i]);
	for (i = VIRTIO_TRANSPORT_F_START; i < VIRTIO_TRANSPORT_F_END; i++)
		vdev.features |= features & BIT_ULL(i);
	err = driver->validate(&vdev);
	vb = vdev.priv;
	if (!err)
		err = driver->probe(&vdev);
	if (err)
		bus_end();
	else
		assert_true(status & VIRTIO_CONFIG_S_DRIVER_OK);
	return err;
}

void bus_remove(void)
{
	driver->remove(&vdev);
	bus_end();
}

int bus_freeze(void)
{
	int err = driver->freeze(&vdev);

	bus_gone();
	return err;
}

int bus_restore(void)
{
	bus_reset(&vdev);
	return driver->restore(&vdev);
}

void bus_changed(void)
{
	driver->config_changed(&vdev);
}

void bus_used(enum vbb_vq nr)
{
	if (vb->vqs[nr]->callback)
		vb->vqs[nr]->callback(vb->vqs[nr]);
}

/* More rounds than anything here needs: work that starts itself again and again is a fault. */
#define NR_ROUNDS 10000

void bus_work(void)
{
	unsigned int i = 0;

	while (stub_work_now())
		assert_true(i++ < NR_ROUNDS);
}

void bus_settle(void)
{
	unsigned int i = 0;
	bool more;

	do {
		more = stub_work_now();
		if (device_works()) {
			bus_used(VBB_VQ_INFLATE);
			bus_used(VBB_VQ_DEFLATE);
			more = true;
		}
		assert_true(i++ < NR_ROUNDS);
	} while (more);
}

void bus_target(unsigned long nr_pages)
{
	config.num_pages = cpu_to_le32(nr_pages * FRAMES);
	bus_changed();
	bus_settle();
}

void bus_check(void)
{
	unsigned long nr_offline = 0, nr_hinted = vb->hint.blocks.nr_pages;
	size_t i;

	for (i = 0; i < STUB_NR_PAGES; i++) {
		nr_offline += stub_map[i].offline;
		assert_true(stub_map[i].taken || !stub_map[i].offline);
		if (vb->must_tell)
			assert_true(stub_map[i].offline || !frames[i]);
	}
	assert_true(nr_offline + nr_hinted <= STUB_NR_PAGES - stub_nr_free);
	assert_int_equal(vb->actual + vb->moving[VBB_INFLATE], nr_offline);
	assert_int_equal(vb->blocks.nr_pages + vb->nr_singles + vb->moving[VBB_DEFLATE],
			 vb->actual);
	assert_int_equal(stub_managed, vb->blocks.managed ? 0 : -(long)nr_offline);
}
