"""What breaks naive clients of these wires, and the tests that show that it does not break ours.

The numbers are those of the wire sheet of the project. A place is the folder of a package's tests.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

__all__ = ["BEHAVIOURS", "PLACES"]

PLACES: Final[Mapping[str, str]] = {
    "core": "core/tests",
    "here": "tests/end_to_end",
    "replay": "tests/replay",
    **{name: f"plugins/providers/{name}/tests" for name in ("openai", "anthropic", "gemini", "ollama")},
}

#: Number -> what it is, and `PLACE: TEST` of those that show it.
BEHAVIOURS: Final[Mapping[int, tuple[str, ...]]] = {
    1: ("characters split over pieces", "core: test_utf8_cut_inside_a_character", "replay: test_recordings"),
    2: ("CRLF, LF, CR and mixes", "core: test_every_line_end", "core: test_mixed_line_ends"),
    3: ("comment lines", "core: test_comments_are_dropped"),
    4: ("ping anywhere", "anthropic: test_nothing_before_content_commits_a_stream"),
    5: (
        "no [DONE] is a good end, an early end is not",
        "openai: test_a_finish_reason_without_done_is_a_good_end",
        "here: test_a_stream_that_is_cut",
    ),
    6: ("blanks after the JSON", "anthropic: test_blank_after_the_json_and_a_foreign_end"),
    7: (
        "lines or an array",
        "core: test_lines_in_any_chunks",
        "gemini: test_objects_of_an_array_cut_anywhere",
    ),
    8: ("an error inside a good stream", "here: test_an_error_inside_a_stream"),
    9: ("JSON for a stream", "here: test_json_where_a_stream_was_asked_and_a_stream_where_none_was"),
    10: (
        "a stream for JSON",
        "here: test_json_where_a_stream_was_asked_and_a_stream_where_none_was",
        "here: test_whether_to_stream_is_always_said",
    ),
    11: ("packed streams", "here: test_a_packed_stream_is_read_as_it_comes", "replay: test_recordings"),
    12: ("no choices first", "openai: test_choices_may_be_empty_first_as_azure_sends_them"),
    13: ("no choices last", "openai: test_choices_may_be_empty_last_with_usage_and_moderation"),
    14: (
        "usage once, always or never",
        "openai: test_usage_on_every_chunk_is_replaced_never_added",
        "openai: test_usage_that_never_came_is_none",
    ),
    15: ("fragments without index", "openai: test_two_calls_in_every_dialect"),
    16: ("one index for two calls", "openai: test_two_calls_in_every_dialect"),
    17: ("interleaved fragments", "openai: test_fragments_by_the_book_in_any_order_give_the_calls"),
    18: ("a wrong later index", "openai: test_two_calls_in_every_dialect"),
    19: ("whole calls", "openai: test_two_calls_in_every_dialect"),
    20: (
        "calls in the text",
        "openai: test_calls_in_text",
        "openai: test_by_default_and_without_tools_text_is_text",
    ),
    21: (
        "content of every kind beside calls",
        "openai: test_content_as_a_list_of_parts",
        "openai: test_content_is_absent_beside_calls_and_never_null",
    ),
    22: ("spellings of thinking", "openai: test_thinking_in_a_stream", "openai: test_thinking_in_tags"),
    23: (
        "unknown fields",
        "openai: test_unknown_fields_and_frames_do_no_harm",
        "anthropic: test_what_is_not_known_yet_survives",
    ),
    24: ("error bodies of any shape", "here: test_a_body_of_any_shape"),
    25: ("a broken list of models", "openai: test_a_broken_list_alone_is_no_illness"),
    26: (
        "another model than asked for",
        "openai: test_the_model_of_the_reply_is_the_one_that_the_server_names",
    ),
    27: (
        "vectors of all kinds",
        "openai: test_base64_and_numbers_give_the_same_vectors",
        "openai: test_wrong_vectors_are_refused",
    ),
    28: ("answers that break their schema", "replay: test_recordings"),
    29: ("two names of the limit", "openai: test_the_output_limit_takes_its_other_name"),
    30: ("the developer role", "openai: test_system_turns_take_their_other_role"),
    31: ("several or late system turns", "here: test_turns_in_any_order_are_taken"),
    32: (
        "refused sampling",
        "anthropic: test_a_parameter_that_the_model_refuses_is_left_out_and_remembered",
        "openai: test_wishes_are_left_out_where_the_configuration_says_so",
    ),
    33: (
        "tool choice",
        "openai: test_tool_choice",
        "anthropic: test_how_tools_are_chosen",
        "gemini: test_tool_choice",
        "ollama: test_tools_are_left_out_where_none_may_be_called",
    ),
    34: ("dialects of schemas", "gemini: test_what_becomes_of_a_schema"),
    35: ("arguments that are none", "here: test_a_call_whose_arguments_cannot_be_read_is_told_to_the_model"),
    36: (
        "parallel results",
        "anthropic: test_all_results_of_parallel_calls_begin_one_user_turn",
        "gemini: test_results_go_back_in_the_order_of_the_calls",
        "openai: test_calls_and_results_one_message_each",
    ),
    37: (
        "turns of one role in a row",
        "here: test_turns_in_any_order_are_taken",
        "anthropic: test_blank_texts_and_empty_turns_are_left_out",
    ),
    38: (
        "pictures",
        "here: test_the_vendor_gets_the_picture_the_tools_and_its_own_state_back",
        "openai: test_pictures_travel_by_address_or_as_data",
        "anthropic: test_pictures_and_documents",
        "gemini: test_media",
    ),
    39: ("signed and redacted thinking", "anthropic: test_everything_comes_back_through_storage"),
    40: (
        "signatures on any part, and of the twin",
        "gemini: test_a_part_comes_back_as_it_came",
        "openai: test_signatures_of_the_gemini_twin_go_back_on_message_and_call",
    ),
    41: ("reasoning of responses", "openai: test_reasoning_goes_back_as_it_came_and_before_its_successor"),
    42: (
        "blocks of server tools and pauses",
        "anthropic: test_a_paused_turn_goes_back_unchanged_with_its_container",
        "openai: test_items_of_the_vendors_tools_survive_in_their_place",
    ),
    43: ("ends without a word for them", "here: test_why_an_answer_ended"),
    44: (
        "arithmetic of usage",
        "here: test_the_same_conversation_has_the_same_form",
        "replay: test_recordings",
    ),
    45: ("an error frame that is no JSON", "here: test_an_error_inside_a_stream"),
    46: ("names repeated, an old copy beside", "openai: test_a_copy_in_the_old_function_call_is_dropped"),
    47: ("a limit that is ignored", "openai: test_the_output_limit_has_the_name_that_the_server_knows"),
    48: ("a cut stream that ends cleanly", "here: test_a_stream_that_is_cut", "replay: test_recordings"),
    49: (
        "restated usage",
        "anthropic: test_restated_usage_replaces_and_is_never_added",
        "gemini: test_the_last_usage_of_a_stream_holds_even_where_it_falls",
    ),
    50: (
        "calls without arguments",
        "openai: test_a_call_without_arguments_has_none",
        "anthropic: test_calls_without_arguments_and_calls_that_come_whole",
        "gemini: test_a_call_without_arguments_has_none",
    ),
    51: ("events without names and numbers", "here: test_events_need_no_names_and_no_numbers"),
    52: ("words that are in no list", "here: test_why_an_answer_ended"),
    53: (
        "calls without ids",
        "openai: test_calls_without_ids_of_their_own_get_some",
        "gemini: test_calls_without_id_get_ids_and_end_in_tool_calls",
    ),
    54: ("one id in two turns", "here: test_one_call_id_in_two_turns"),
}
