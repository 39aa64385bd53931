"""pydantic-ai's Agent, with one tool; prints what it says in the end."""

import asyncio
import os

from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

provider = OpenAIProvider(
    base_url=os.environ["OPENAI_BASE_URL"], api_key=os.environ["OPENAI_API_KEY"]
)
agent = Agent(OpenAIChatModel("assistant", provider=provider))


@agent.tool_plain
def weather(city: str) -> str:
    """The weather in a city."""
    return f"21 °C in {city}"


async def main() -> str:
    if os.environ.get("STREAM") != "1":
        return (await agent.run("Weather in Rome?")).output
    async with agent.run_stream("Weather in Rome?") as run:
        return await run.get_output()


print(asyncio.run(main()))
