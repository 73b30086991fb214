import asyncio
import json

import pytest

from launcher.errors import ContentFailed, SessionStartFailed
from launcher.hub.waiting import SessionVoice


async def say(path, *messages):
    _, writer = await asyncio.open_unix_connection(str(path))
    for message in messages:
        writer.write(message if isinstance(message, bytes) else json.dumps(message).encode() + b"\n")
    await writer.drain()
    writer.close()
    await writer.wait_closed()


def never():
    return asyncio.get_running_loop().create_future()


async def test_progress_then_ready(tmp_path):
    heard = []
    async with SessionVoice(tmp_path / "s", heard.append) as voice:
        await say(tmp_path / "s", {"progress": "Putting files in place"}, {"ready": True})
        await voice.ready(never(), seconds=5)
    assert heard == ["Putting files in place"]
    assert not (tmp_path / "s").exists()


async def test_an_error_of_the_session_arrives_in_words(tmp_path):
    async with SessionVoice(tmp_path / "s", print) as voice:
        await say(tmp_path / "s", {"error": {"code": "content_failed", "message": "The disk is full."}})
        with pytest.raises(ContentFailed, match="The disk is full"):
            await voice.ready(never(), seconds=5)


async def test_an_early_end_of_the_process_is_told_at_once(tmp_path):
    exited = never()
    exited.set_result(3)
    async with SessionVoice(tmp_path / "s", print) as voice:
        with pytest.raises(SessionStartFailed, match="exit status 3"):
            await voice.ready(exited, seconds=60)


async def test_silence_ends_in_a_sentence(tmp_path):
    async with SessionVoice(tmp_path / "s", print) as voice:
        with pytest.raises(SessionStartFailed, match="did not answer"):
            await voice.ready(never(), seconds=0.05)


@pytest.mark.parametrize("noise", [b"42\n", b"null\n", b"[1]\n", b"not json\n", b'{"ready": "yes"}\n', b"\xff\xfe\n"])
async def test_noise_is_not_taken_for_ready(tmp_path, noise):
    async with SessionVoice(tmp_path / "s", print) as voice:
        await say(tmp_path / "s", noise)
        with pytest.raises(SessionStartFailed, match="did not answer"):
            await voice.ready(never(), seconds=0.1)


async def test_an_endless_line_ends_the_start(tmp_path):
    async with SessionVoice(tmp_path / "s", print) as voice:
        await say(tmp_path / "s", b"x" * 200_000)
        with pytest.raises(SessionStartFailed):
            await voice.ready(never(), seconds=5)
