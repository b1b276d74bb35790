// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
#include "test.h"

static const struct {
	int err;
	int number;
	const char *name;
	const char *text;
} errors[] = {
#define ERROR_ROW(name, number, text) { VBB_E_##name, number, #name, text },
	VBB_ERRORS(ERROR_ROW)
};

static void test_every_error_has_a_name_and_a_text(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(errors); i++) {
		assert_int_equal(errors[i].err, errors[i].number);
		assert_string_equal(vbb_err_name(errors[i].err), errors[i].name);
		assert_string_equal(vbb_strerror(errors[i].err), errors[i].text);
		assert_true(strlen(errors[i].text) > 0);
	}
}

static void test_no_number_no_name_and_no_text_twice(void **state)
{
	size_t i, j;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(errors); i++) {
		for (j = 0; j < i; j++) {
			assert_int_not_equal(errors[i].err, errors[j].err);
			assert_string_not_equal(errors[i].name, errors[j].name);
			assert_string_not_equal(errors[i].text, errors[j].text);
		}
	}
}

static void test_range_says_whose_fault_it_is(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(errors); i++) {
		int n = -errors[i].err;
		bool peer = n >= 16 && n <= 63;

		assert_true((n >= 1 && n <= 15) || peer || (n >= 64 && n <= 95));
		assert_int_equal(vbb_err_fault(errors[i].err) >= 0, peer);
	}
	assert_in_range(-VBB_E_NOSPC, 1, 15);
	assert_in_range(-VBB_E_SHORT, 16, 63);
	assert_in_range(-VBB_E_FRAME, 16, 63);
	assert_in_range(-VBB_E_CLOSED, 64, 79);
	assert_in_range(-VBB_E_INVAL, 80, 95);
}

static void test_fault_index_and_error_are_one_another(void **state)
{
	int err, nr_faults = 0;

	(void)state;
	for (err = -200; err <= 200; err++) {
		int fault = vbb_err_fault(err);

		if (fault < 0) {
			assert_int_equal(fault, -1);
			continue;
		}
		assert_true(fault < VBB_NR_FAULTS);
		assert_int_equal(vbb_err_from_fault(fault), err);
		nr_faults++;
	}
	assert_int_equal(nr_faults, VBB_NR_FAULTS);
}

static void test_what_is_no_error(void **state)
{
	int err;

	(void)state;
	assert_string_equal(vbb_err_name(VBB_OK), "OK");
	assert_string_equal(vbb_err_name(17), "OK");
	assert_string_equal(vbb_strerror(0), "success");
	assert_string_equal(vbb_strerror(17), "success");
	for (err = -200; err < 0; err++) {
		size_t i, known = 0;

		for (i = 0; i < ARRAY_SIZE(errors); i++)
			known += errors[i].err == err;
		if (known)
			continue;
		assert_null(vbb_err_name(err));
		assert_string_equal(vbb_strerror(err), "unknown error");
	}
	assert_null(vbb_err_name(INT32_MIN));
	assert_int_equal(vbb_err_fault(INT32_MIN), -1);
	assert_int_equal(vbb_err_fault(INT32_MAX), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_error_has_a_name_and_a_text),
		cmocka_unit_test(test_no_number_no_name_and_no_text_twice),
		cmocka_unit_test(test_range_says_whose_fault_it_is),
		cmocka_unit_test(test_fault_index_and_error_are_one_another),
		cmocka_unit_test(test_what_is_no_error),
	};

	return cmocka_run_group_tests_name("error", tests, NULL, NULL);
}
