// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
/* The guest's memory, as a vhost-user front-end hands it over */
#define _GNU_SOURCE
#include "vhu.h"

#include <linux/magic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>

vbb_u8 *vhu_uaddr_map(const struct vbb_vhu *v, vbb_u64 uaddr, vbb_u64 len)
{
	size_t i;

	for (i = 0; i < v->nr_regions; i++) {
		const struct vbb_vhu_region *r = &v->region[i];

		if (uaddr >= r->uaddr && uaddr - r->uaddr < r->len &&
		    len <= r->len - (uaddr - r->uaddr))
			return r->map + r->map_off + (uaddr - r->uaddr);
	}
	return NULL;
}

/* log2 of the size of the pages that a file's memory consists of */
static vbb_u32 host_shift(int fd)
{
	unsigned long size = (unsigned long)sysconf(_SC_PAGESIZE);
	struct statfs fs;

	if (!fstatfs(fd, &fs) && (unsigned long)fs.f_type == HUGETLBFS_MAGIC)
		size = (unsigned long)fs.f_bsize;
	return (vbb_u32)__builtin_ctzl(size);
}

/* Is there an end, and does it lie before 2^64? */
static bool span_valid(vbb_u64 start, vbb_u64 len)
{
	return len && len - 1 <= ~(vbb_u64)0 - start;
}

static int region_map(struct vbb_vhu *v, struct vbb_vhu_region *r, const struct vhu_mem *mem,
		      int fd)
{
	vbb_u64 host_len, end;
	struct stat st;
	void *map;

	if (!span_valid(mem->gpa, mem->len) || !span_valid(mem->uaddr, mem->len))
		return refuse(v, "a region is empty, or wraps");
	if (mem->fd_off > INT64_MAX || mem->len > INT64_MAX - mem->fd_off)
		return refuse(v, "a region lies past the end of every file");
	end = mem->fd_off + mem->len;
	/* touching what a file does not have is a SIGBUS */
	if (fstat(fd, &st) || (S_ISREG(st.st_mode) && end > (vbb_u64)st.st_size))
		return refuse(v, "a region lies past the end of its file");
	r->gpa = mem->gpa;
	r->len = mem->len;
	r->uaddr = mem->uaddr;
	r->fd = fd;
	r->host_shift = host_shift(fd);
	host_len = vbb_pow2(r->host_shift);
	r->map_fd_off = mem->fd_off & ~(host_len - 1);
	r->map_off = mem->fd_off - r->map_fd_off;
	if (end > INT64_MAX - host_len)
		return refuse(v, "a region lies past the end of every file");
	r->map_len = ((end + host_len - 1) & ~(host_len - 1)) - r->map_fd_off;
	if (r->map_len > SIZE_MAX)
		return refuse(v, "a region does not fit into our address space");
	map = mmap(NULL, (size_t)r->map_len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd,
		   (off_t)r->map_fd_off);
	if (map == MAP_FAILED)
		return refuse(v, "a region cannot be mapped");
	r->map = map;
	return 0;
}

void vhu_region_unmap(struct vbb_vhu_region *r)
{
	munmap(r->map, (size_t)r->map_len);
	close_fd(&r->fd);
}

int vhu_region_add(struct vbb_vhu *v, const struct vhu_mem *mem, int fd)
{
	struct vbb_vhu_region r;
	size_t i = 0;

	if (v->nr_regions == VBB_VHU_NR_REGIONS)
		return refuse(v, "more regions than there are slots");
	if (region_map(v, &r, mem, fd))
		return -1;
	while (i < v->nr_regions && v->region[i].gpa < r.gpa)
		i++;
	if ((i && v->region[i - 1].gpa + (v->region[i - 1].len - 1) >= r.gpa) ||
	    (i < v->nr_regions && r.gpa + (r.len - 1) >= v->region[i].gpa)) {
		munmap(r.map, (size_t)r.map_len);
		return refuse(v, "regions overlap");
	}
	memmove(&v->region[i + 1], &v->region[i], (v->nr_regions - i) * sizeof(r));
	v->region[i] = r;
	v->nr_regions++;
	return 0;
}

void vhu_regions_remove_all(struct vbb_vhu *v)
{
	while (v->nr_regions)
		vhu_region_unmap(&v->region[--v->nr_regions]);
}

void vhu_memory_begin(struct vbb_vhu *v, bool ran[VBB_VHU_NR_QUEUES])
{
	unsigned int i;

	for (i = 0; i < v->nr_queues; i++) {
		ran[i] = v->queue[i].running;
		vhu_queue_pause(v, i);
	}
}

void vhu_memory_end(struct vbb_vhu *v, const bool ran[VBB_VHU_NR_QUEUES])
{
	unsigned int i;
	size_t k;

	for (k = 0; k < v->nr_regions; k++) {
		const struct vbb_vhu_region *r = &v->region[k];

		v->ram[k].gpa = r->gpa;
		v->ram[k].len = r->len;
		v->ram[k].addr = (uintptr_t)r->map + r->map_off;
		v->ram[k].host_shift = 0;
	}
	v->map.ram = v->ram;
	v->map.nr = v->nr_regions;
	v->ops->memory(v->dev);
	/* one whose memory went stays stopped */
	for (i = 0; i < v->nr_queues; i++)
		if (ran[i])
			vhu_queue_start(v, i);
}
